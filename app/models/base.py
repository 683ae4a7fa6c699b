"""Shared. The words of the model side: refs, manifests and the interface of a predictor."""

import hashlib
import re
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NamedTuple,
    Protocol,
    TypeVar,
    runtime_checkable,
)

import msgspec

from app.errors import ManifestInvalid, UnsafePath

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"
# A version has no dash, so that `name-version` can be read back from its last dash.
VERSION_PATTERN = r"^[a-z0-9][a-z0-9._]{0,63}$"
FILE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"

Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
Version = Annotated[str, msgspec.Meta(pattern=VERSION_PATTERN)]
FileName = Annotated[str, msgspec.Meta(pattern=FILE_PATTERN)]
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class Ref(NamedTuple):
    """One version of one model; written `name-version`."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}-{self.version}"

    @classmethod
    def parse(cls, text: str) -> "Ref":
        """Split at the last dash; `UnsafePath` where that does not leave a name and a version."""
        name, _, version = text.rpartition("-")
        check_name(name, NAME_PATTERN)
        check_name(version, VERSION_PATTERN)
        return cls(name, version)


def check_name(text: str, pattern: str = NAME_PATTERN) -> str:
    """Return `text` if it may become part of a path, else raise `UnsafePath`."""
    if not re.fullmatch(pattern, text) or ".." in text:
        raise UnsafePath(text, f"must match {pattern} without '..'")
    return text


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A block of a manifest: immutable, and closed against unknown keys."""


Options = TypeVar("Options", bound=Document)


class Artifact(Document, frozen=True, kw_only=True):
    """A file of the version, pinned."""

    file: FileName
    sha256: Digest
    size_bytes: Annotated[int, msgspec.Meta(ge=0)]


class StepSpec(Document, frozen=True, kw_only=True):
    """One named step of the preprocessing pipeline and its options."""

    step: str
    options: dict[str, Any] = {}


class ClassFigures(Document, frozen=True, kw_only=True):
    """Held-out figures of one label; `support` is its number of held-out texts."""

    precision: float
    recall: float
    f1: float
    support: int


class TrainingData(Document, frozen=True, kw_only=True):
    """What the version learned from and what it was measured on."""

    name: str
    sha256: str
    texts: int
    held_out_texts: int


class Metadata(Document, frozen=True, kw_only=True):
    """How the version came to be and what it is worth, measured on texts it never saw."""

    accuracy: float | None = None
    macro_f1: float | None = None
    per_class: dict[str, ClassFigures] = {}
    trained_at: str | None = None
    training_data: TrainingData | None = None
    recipe: str | None = None
    seed: int | None = None
    features: list[str] = []
    description: str = ""


# As Hugging Face names them: exactly one label is right, or any number of them.
ProblemType = Literal["single_label_classification", "multi_label_classification"]
SINGLE_LABEL: Final = "single_label_classification"
MULTI_LABEL: Final = "multi_label_classification"


class Batching(Document, frozen=True, kw_only=True):
    """What the texts of a batch cost: each the same, or the tokens that are computed for them.

    With `padded_tokens`, a batch has at most `max_batch_tokens`: its texts times the tokens of the
    longest one, or the sum of their tokens where the model needs no padding.
    """

    cost: Literal["texts", "padded_tokens"] = "texts"
    max_batch_tokens: Annotated[int, msgspec.Meta(ge=1)] = 512


class Manifest(Document, frozen=True, kw_only=True):
    """model.yaml: everything needed to decide about a version without loading it."""

    manifest: Literal[1] = 1
    name: Name
    version: Version
    format: str
    labels: Annotated[list[str], msgspec.Meta(min_length=2)]
    problem_type: ProblemType = SINGLE_LABEL
    device: Literal["auto", "cpu", "gpu"] = "auto"
    artifacts: list[Artifact]
    pipeline: list[StepSpec] = []
    architecture: dict[str, Any] = {}
    batching: Batching = Batching()
    precision: Literal["float32", "float16", "bfloat16"] = "float32"
    libraries: dict[str, str] = {}
    metadata: Metadata = Metadata()

    def __post_init__(self) -> None:
        """`ValueError` where an answer could not tell one label from another."""
        if len(set(self.labels)) < len(self.labels) or not all(map(str.strip, self.labels)):
            raise ValueError("labels: each of them once, and none blank")

    @property
    def ref(self) -> Ref:
        """The version that this manifest describes."""
        return Ref(self.name, self.version)

    @property
    def sums_to_one(self) -> bool:
        """Whether the probabilities of a text do; else each label has one of its own."""
        return self.problem_type == SINGLE_LABEL

    @property
    def digest(self) -> str:
        """SHA-256 over all that decides an answer: artifacts, pipeline, labels, architecture."""
        decisive = self._decisive()
        # In which batches texts are computed moves the last digits.
        if self.batching != Batching() or self.precision != "float32":
            decisive.append([self.batching, self.precision])
        return _sha256(decisive)

    @property
    def untuned_digest(self) -> str:
        """The same whatever the batches: a job goes on when its version is tuned meanwhile."""
        decisive = self._decisive()
        if self.precision != "float32":
            decisive.append(self.precision)
        return _sha256(decisive)

    def _decisive(self) -> list[Any]:
        decisive: list[Any] = [
            self.format,
            self.labels,
            self.artifacts,
            self.pipeline,
            self.architecture,
        ]
        if self.problem_type != SINGLE_LABEL:
            decisive.append(self.problem_type)
        return decisive


def architecture_as(options: type[Options], manifest: Manifest) -> Options:
    """The `architecture` of a manifest as what its format knows; `ManifestInvalid` otherwise."""
    try:
        return msgspec.convert(manifest.architecture, options)
    except msgspec.ValidationError as error:
        raise ManifestInvalid(str(manifest.ref), f"architecture: {error}") from error


def _sha256(decisive: list[Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(decisive, order="deterministic")).hexdigest()


class Predictor(Protocol):
    """Loaded artifacts. `predict_proba` may be called by several threads at once.

    What it is called with may be a piece of what the pipeline extracted from a chunk.
    """

    def predict_proba(self, features: Any) -> Any:
        """Features of n texts to a float64 array (n, labels) of probabilities."""
        ...


def pads(predictor: Predictor) -> bool:
    """Whether texts of tokens are padded to the longest one of their batch; most models must."""
    return getattr(predictor, "pads", True)


@runtime_checkable
class Embedder(Predictor, Protocol):
    """A predictor that places texts in a space of its own before it judges them."""

    def predict_embedded(self, features: Any) -> tuple[Any, Any]:
        """What `predict_proba` gives, and the embeddings, an array (n, dimensions)."""
        ...
