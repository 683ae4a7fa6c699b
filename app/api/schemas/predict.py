"""API process. Bodies of /predict and /batch-predict.

Each request body exists twice: a Struct that accepts fast, and a marshmallow schema that documents
it and words the errors. A property test holds that both accept and refuse the same bodies.
"""

import re
from typing import Annotated, Any

import msgspec
from marshmallow import Schema, ValidationError, fields
from marshmallow.validate import Length, Range, Regexp

from app.contract import Failure
from app.settings import Limits

MAX_TOP_K = 100
# A name, a ref or a version; `Catalog.resolve` decides which.
MODEL_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,128}$"

# C0 except \t \n \r, DEL and C1, and lone surrogates, which no encoder takes.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

ModelVersion = Annotated[str, msgspec.Meta(pattern=MODEL_PATTERN)]
TopK = Annotated[int, msgspec.Meta(ge=1, le=MAX_TOP_K)]


class PredictBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /predict`."""

    text: str
    model_version: ModelVersion | None = None
    top_k: TopK | None = None

    @classmethod
    def schema(cls, limits: Limits) -> Schema:
        """The same in marshmallow."""
        top_k = fields.Integer(
            strict=True,
            allow_none=True,
            validate=Range(1, MAX_TOP_K),
            metadata={"description": "Return this many labels with their scores, best first."},
        )
        members: dict[str, fields.Field[Any]] = {
            "text": text_field(limits, required=True),
            "model_version": model_field(),
            "top_k": top_k,
        }
        return Schema.from_dict(members, name="PredictRequest")()

    def is_clean(self, limits: Limits) -> bool:
        """Whether the text may go to a worker."""
        return is_clean(self.text, limits.max_text_chars)


class BatchBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /batch-predict`."""

    texts: list[str]
    model_version: ModelVersion | None = None

    @classmethod
    def schema(cls, limits: Limits) -> Schema:
        """The same in marshmallow."""
        texts = fields.List(
            text_field(limits),
            required=True,
            validate=Length(1, limits.max_batch_texts),
            metadata={"description": "The texts to classify; answers keep their order."},
        )
        members: dict[str, fields.Field[Any]] = {"texts": texts, "model_version": model_field()}
        return Schema.from_dict(members, name="BatchPredictRequest")()

    def is_clean(self, limits: Limits) -> bool:
        """Whether all texts may go to a worker."""
        return 1 <= len(self.texts) <= limits.max_batch_texts and all(
            is_clean(text, limits.max_text_chars) for text in self.texts
        )


class Score(msgspec.Struct, frozen=True):
    """One label and its probability."""

    label: str
    score: float


class Prediction(msgspec.Struct, frozen=True):
    """The answer of /predict."""

    label: str
    confidence: float
    latency_ms: float
    model_version: str
    scores: list[Score] | msgspec.UnsetType = msgspec.UNSET
    truncated: bool | msgspec.UnsetType = msgspec.UNSET
    prediction_id: str | msgspec.UnsetType = msgspec.UNSET


class Labelled(msgspec.Struct, frozen=True):
    """One classified text of a batch."""

    label: str
    confidence: float
    truncated: bool | msgspec.UnsetType = msgspec.UNSET
    prediction_id: str | msgspec.UnsetType = msgspec.UNSET


class Failed(msgspec.Struct, frozen=True):
    """One text of a batch that has no prediction."""

    error: Failure


class BatchPrediction(msgspec.Struct, frozen=True):
    """The answer of /batch-predict."""

    predictions: list[Labelled | Failed]
    total_latency_ms: float
    model_version: str


_LABEL = {"description": "The most probable label."}
_CONFIDENCE = {"description": "Its probability.", "minimum": 0, "maximum": 1}
_TRUNCATED = {
    "description": "Only where true: the text is longer than the model reads; the rest was cut off."
}
_VERSION = {"description": "The exact version that answered."}
PREDICTION_ID = {"description": "For `POST /feedback`; only with `monitoring.feedback`."}


class ScoreSchema(Schema):
    """A label and its probability."""

    label = fields.String(required=True)
    score = fields.Float(required=True, metadata={"minimum": 0, "maximum": 1})


class PredictionSchema(Schema):
    """A prediction."""

    label = fields.String(required=True, metadata=_LABEL)
    confidence = fields.Float(required=True, metadata=_CONFIDENCE)
    latency_ms = fields.Float(
        required=True, metadata={"description": "Milliseconds from request to answer."}
    )
    model_version = fields.String(required=True, metadata=_VERSION)
    scores = fields.List(
        fields.Nested(ScoreSchema),
        metadata={"description": "Only with `top_k`: the best labels, best first."},
    )
    truncated = fields.Boolean(metadata=_TRUNCATED)
    prediction_id = fields.String(metadata=PREDICTION_ID)


class FailureSchema(Schema):
    """Why one text has no prediction."""

    code = fields.String(required=True)
    message = fields.String(required=True)


class BatchItemSchema(Schema):
    """Either `label` and `confidence`, or `error`."""

    label = fields.String(metadata=_LABEL)
    confidence = fields.Float(metadata=_CONFIDENCE)
    truncated = fields.Boolean(metadata=_TRUNCATED)
    error = fields.Nested(FailureSchema)
    prediction_id = fields.String(metadata=PREDICTION_ID)


class BatchPredictionSchema(Schema):
    """Predictions in the order of the texts."""

    predictions = fields.List(fields.Nested(BatchItemSchema), required=True)
    total_latency_ms = fields.Float(
        required=True, metadata={"description": "Milliseconds from request to answer."}
    )
    model_version = fields.String(required=True, metadata=_VERSION)


def is_clean(text: str, max_chars: int) -> bool:
    """Whether `text_problem` has nothing to say; fast."""
    if not text or len(text) > max_chars or text.isspace():
        return False
    # What is printable holds nothing forbidden; the regex is ten times slower.
    return text.isprintable() or not _FORBIDDEN.search(text)


def text_problem(text: str, max_chars: int) -> str | None:
    """Why `text` is refused; never quotes it."""
    if len(text) > max_chars:
        return f"Has {len(text)} characters; the limit is {max_chars}."
    if not text or text.isspace():
        return "Must not be blank."
    if found := _FORBIDDEN.search(text):
        kind = "lone surrogate" if found[0] >= "\ud800" else "control character"
        return f"Contains a {kind} (U+{ord(found[0]):04X}) at position {found.start()}."
    return None


def text_field(limits: Limits, required: bool = False) -> fields.String:
    """A text that is to be classified."""

    def check(text: str) -> None:
        if problem := text_problem(text, limits.max_text_chars):
            raise ValidationError(problem)

    bounds = {"minLength": 1, "maxLength": limits.max_text_chars}
    description = {"description": "Not blank; no control characters except tab and line breaks."}
    return fields.String(required=required, validate=check, metadata=bounds | description)


def model_field() -> fields.String:
    """Which model or version is to answer."""

    return fields.String(
        allow_none=True,
        validate=Regexp(MODEL_PATTERN, error="Must be the name of a model, a version, or both."),
        metadata={"description": "A name, a version or both; absent or null: the default model."},
    )
