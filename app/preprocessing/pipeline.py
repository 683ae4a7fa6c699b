"""Worker process. A model's preprocessing: the steps that its manifest lists, in order.

Any number of text steps, then at most one feature step. A step's options are the keyword-only
parameters of its function; a feature step also has `artifact`, the file that it is built from.
"""

import inspect
from collections.abc import Callable, Container, Sequence
from functools import partial
from typing import Any, get_type_hints

import msgspec

from app.errors import ManifestInvalid
from app.models.base import FileName, StepSpec
from app.preprocessing import features, subwords, text

TextStep = Callable[[str], str]

TEXT_STEPS: dict[str, Callable[..., str]] = {
    "unicode": text.normalize_unicode,
    "html_entities": text.unescape_html,
    "lowercase": text.lowercase,
    "urls": text.replace_urls,
    "mentions": text.replace_mentions,
    "hashtags": text.strip_hash_signs,
    "repeats": text.limit_repeats,
    "special_characters": text.replace_special_characters,
    "whitespace": text.collapse_whitespace,
    "tokenize": text.tokenize,
    "negation": text.mark_negation,
}
FEATURE_STEPS: dict[str, Callable[..., features.Extractor]] = {
    "tfidf": features.tfidf,
    "token_ids": features.token_ids,
    "subword_ids": subwords.subword_ids,
}
STEPS: dict[str, Callable[..., Any]] = {**TEXT_STEPS, **FEATURE_STEPS}


class Pipeline:
    """Cleaning, tokens and features of one model; safe for several threads at once."""

    def __init__(self, steps: Sequence[TextStep], extractor: features.Extractor | None) -> None:
        self._steps = tuple(steps)
        self._extractor = extractor

    @classmethod
    def build(cls, specs: Sequence[StepSpec], artifact: Callable[[str], Any]) -> "Pipeline":
        """Steps by their names in `STEPS`; `artifact(file)` gives a loaded artifact.

        Raises `ManifestInvalid` for an unknown step, a wrong option or a feature step that is not
        the last one.
        """
        steps: list[TextStep] = []
        extractor = None
        for at, spec in enumerate(specs):
            if spec.step in FEATURE_STEPS:
                if at != len(specs) - 1:
                    raise ManifestInvalid(f"pipeline[{at}]", f"{spec.step} must be the last step")
                extractor = _extractor(at, spec, artifact)
            else:
                steps.append(_text_step(at, spec))
        return cls(steps, extractor)

    def clean(self, text: str) -> str:
        """All text steps over one text."""
        for step in self._steps:
            text = step(text)
        return text

    def extract(self, cleaned: Sequence[str]) -> Any:
        """Features of n cleaned texts, n rows; without a feature step the texts themselves."""
        return list(cleaned) if self._extractor is None else self._extractor.extract(cleaned)

    def tokens(self, cleaned: str) -> list[str]:
        """The tokens of a cleaned text: what stands between white space."""
        return cleaned.split()

    def is_known(self, token: str) -> bool:
        """Whether the model learned this token; True where it has no vocabulary of tokens."""
        return self._extractor is None or self._extractor.is_known(token)

    @property
    def vocabulary(self) -> Container[str] | None:
        """The tokens that the model learned; None where it has no vocabulary of tokens."""
        return None if self._extractor is None else self._extractor.vocabulary


def _text_step(at: int, spec: StepSpec) -> TextStep:
    function = _function(at, spec)
    options = _options(at, spec, function)
    return partial(function, **options) if options else function


def _extractor(at: int, spec: StepSpec, artifact: Callable[[str], Any]) -> features.Extractor:
    function = FEATURE_STEPS[spec.step]
    options = _options(at, spec, function)
    file = options.pop("artifact")
    try:
        return function(artifact(file), **options)
    except msgspec.ValidationError as error:
        raise ManifestInvalid(f"pipeline[{at}].{spec.step}", f"{file}: {error}") from error


def _function(at: int, spec: StepSpec) -> Callable[..., Any]:
    if spec.step not in STEPS:
        raise ManifestInvalid(
            f"pipeline[{at}]", f"unknown step {spec.step!r}; there are: {', '.join(STEPS)}"
        )
    return STEPS[spec.step]


def _options(at: int, spec: StepSpec, function: Callable[..., Any]) -> dict[str, Any]:
    """The step's options, checked against the annotations of its function."""
    try:
        checked = msgspec.convert(spec.options, _struct(spec.step, function))
    except msgspec.ValidationError as error:
        raise ManifestInvalid(f"pipeline[{at}].{spec.step}", f"options: {error}") from error
    return {name: getattr(checked, name) for name in checked.__struct_fields__}


def _struct(step: str, function: Callable[..., Any]) -> type[msgspec.Struct]:
    hints = get_type_hints(function, include_extras=True)
    fields: list[Any] = [("artifact", FileName)] if step in FEATURE_STEPS else []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            given = () if parameter.default is parameter.empty else (parameter.default,)
            fields.append((name, hints[name], *given))
    return msgspec.defstruct(step, fields, forbid_unknown_fields=True, kw_only=True)
