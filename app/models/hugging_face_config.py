"""Worker process. What a Hugging Face config.json says, read without transformers."""

from typing import Any

import msgspec

from app.errors import ArtifactInvalid, ArtifactUnsafe
from app.models.base import MULTI_LABEL, SINGLE_LABEL, ProblemType

CONFIG_FILE = "config.json"

# `model_type` of the architectures that are served, and how their classes in transformers begin.
FAMILIES = {
    "bert": "Bert",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
    "distilbert": "DistilBert",
    "deberta": "Deberta",
    "deberta-v2": "DebertaV2",
    "modernbert": "ModernBert",
}
CLASSIFIER = "ForSequenceClassification"
# Their first positions are those of padding, and are given to no token.
OFFSET_FAMILIES = ("roberta", "xlm-roberta")
DEFAULT_PADDING = 1
DEFAULT_POSITIONS = 512


class Described(msgspec.Struct, frozen=True):
    """What matters of a config before anything is built; all other keys are left alone."""

    model_type: str
    architectures: list[str] | None = None
    id2label: dict[str, str] | None = None
    num_labels: int | None = None
    problem_type: str | None = None


def check_config(config: Any, ref: str) -> dict[str, Any]:
    """The config if it is one of a model that may be served.

    `ArtifactUnsafe` where it names code of its own, else `ArtifactInvalid` says what is wrong.
    """
    described = _described(config, ref)
    if "auto_map" in config or "custom_pipelines" in config:
        raise ArtifactUnsafe(ref, f"{CONFIG_FILE}: auto_map names code in the directory")
    if "quantization_config" in config:
        raise ArtifactInvalid(ref, f"{CONFIG_FILE}: quantized weights are not supported")
    if config.get("is_decoder"):
        # Its tokens see only those before them.
        raise ArtifactInvalid(ref, f"{CONFIG_FILE}: is_decoder: decoders are not supported")
    if described.model_type not in FAMILIES:
        known = ", ".join(FAMILIES)
        said = f"unknown architecture {described.model_type[:100]!r}; there are: {known}"
        raise ArtifactInvalid(ref, f"{CONFIG_FILE}: {said}")
    checked: dict[str, Any] = config
    return checked


def check_classifier(config: dict[str, Any], ref: str) -> None:
    """Raise `ArtifactInvalid` where the config is not that of a sequence classifier."""
    names = _described(config, ref).architectures or [CLASSIFIER]
    if not names[0].endswith(CLASSIFIER):
        said = f"{names[0][:100]} is not a model for sequence classification"
        raise ArtifactInvalid(ref, f"{CONFIG_FILE}: {said}")


def labels_of(config: dict[str, Any], ref: str) -> list[str]:
    """The labels in the order of the head's outputs; `ArtifactInvalid` for fewer than two."""
    described = _described(config, ref)
    count = described.num_labels or 2
    named = described.id2label or {str(at): f"LABEL_{at}" for at in range(count)}
    places = {str(at): at for at in range(len(named))}
    if named.keys() != places.keys():
        raise ArtifactInvalid(ref, f"{CONFIG_FILE}: id2label does not number its labels from 0 on")
    labels = [named[place] for place in places]
    if len(set(labels)) < max(2, len(labels)) or not all(map(str.strip, labels)):
        said = "id2label needs two labels, each of them once, and none blank"
        raise ArtifactInvalid(ref, f"{CONFIG_FILE}: {said}")
    return labels


def problem_type_of(config: dict[str, Any], ref: str) -> ProblemType:
    """Whether one label is right or any number of them; `ArtifactInvalid` for a regression."""
    found = _described(config, ref).problem_type
    if found in (None, SINGLE_LABEL):
        return SINGLE_LABEL
    if found == MULTI_LABEL:
        return MULTI_LABEL
    raise ArtifactInvalid(ref, f"{CONFIG_FILE}: problem_type {str(found)[:100]} is not supported")


def max_tokens(config: dict[str, Any]) -> int:
    """How many tokens, special ones included, the model has positions for."""
    positions = int(config.get("max_position_embeddings") or DEFAULT_POSITIONS)
    if config["model_type"] in OFFSET_FAMILIES:
        padding = config.get("pad_token_id")
        return positions - 1 - (DEFAULT_PADDING if padding is None else int(padding))
    return positions


def _described(config: Any, ref: str) -> Described:
    try:
        return msgspec.convert(config, Described)
    except msgspec.ValidationError as error:
        raise ArtifactInvalid(ref, f"{CONFIG_FILE}: {error}") from error
