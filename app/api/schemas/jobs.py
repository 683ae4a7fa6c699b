"""API process. Bodies of jobs and tasks: what is submitted, and what is told of it."""

from typing import Annotated, Any, get_args

import msgspec
from marshmallow import Schema, ValidationError, fields
from marshmallow.validate import Length

from app.api.schemas.predict import (
    PREDICTION_ID,
    BatchItemSchema,
    FailureSchema,
    ModelVersion,
    ScoreSchema,
    is_clean,
    model_field,
    text_field,
)
from app.jobs.records import (
    MAX_CUSTOM_ID_CHARS,
    MAX_METADATA,
    MAX_METADATA_KEY_CHARS,
    MAX_METADATA_VALUE_CHARS,
    Job,
    Metadata,
    Status,
)
from app.settings import Limits

MIN_RETRY_S, MAX_RETRY_S = 1, 30
IN_PROGRESS = "in_progress"

CustomId = Annotated[str, msgspec.Meta(max_length=MAX_CUSTOM_ID_CHARS)]


class JobOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a job is given besides its texts."""

    model_version: ModelVersion | None = None
    metadata: Metadata | None = None
    webhook: str | None = None

    @classmethod
    def schema(cls, limits: Limits) -> Schema:
        """The same in marshmallow."""
        return Schema.from_dict(_options(), name="JobOptions")()

    def is_clean(self, limits: Limits) -> bool:
        """Lone surrogates are all that is left to look for."""
        pairs = (self.metadata or {}).items()
        return all(_is_encodable(word) for pair in pairs for word in pair)


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of NDJSON."""

    text: str
    custom_id: CustomId | None = None

    @classmethod
    def schema(cls, limits: Limits) -> Schema:
        """The same in marshmallow."""
        members: dict[str, fields.Field[Any]] = {
            "text": text_field(limits, required=True),
            "custom_id": _custom_id(),
        }
        return Schema.from_dict(members, name="JobLine")()

    def is_clean(self, limits: Limits) -> bool:
        """Whether the text may go to a worker."""
        has_good_id = self.custom_id is None or _is_encodable(self.custom_id)
        return has_good_id and is_clean(self.text, limits.max_text_chars)


def body_schema(limits: Limits) -> Schema:
    """The JSON body of `POST /jobs`, for the documentation."""
    texts = fields.List(
        text_field(limits),
        required=True,
        validate=Length(1),
        metadata={"description": "The texts to classify; results keep their order."},
    )
    return Schema.from_dict({"texts": texts, **_options()}, name="JobRequest")()


class RequestCountsSchema(Schema):
    """`total` is the sum of the others and of the texts that are pending."""

    total = fields.Integer(required=True)
    completed = fields.Integer(required=True)
    failed = fields.Integer(required=True)
    cancelled = fields.Integer(required=True)


def _moment(description: str) -> fields.Float:
    return fields.Float(required=True, allow_none=True, metadata={"description": description})


class JobSchema(Schema):
    """A job. Times are in seconds since the epoch, null where it has not come to that."""

    id = fields.String(required=True, metadata={"description": "Also that of a Celery task."})
    status = fields.String(required=True, metadata={"enum": list(get_args(Status))})
    model_version = fields.String(
        required=True, metadata={"description": "The exact version, fixed at submission."}
    )
    request_counts = fields.Nested(RequestCountsSchema, required=True)
    created_at = fields.Float(required=True)
    in_progress_at = _moment("When it was accepted.")
    completed_at = _moment("When every text had a result.")
    failed_at = _moment("When it failed as a whole; see `error`.")
    expired_at = _moment("When its time was up.")
    cancelling_at = _moment("When it was cancelled.")
    cancelled_at = _moment("When what was being computed then was done.")
    expires_at = fields.Float(
        required=True, metadata={"description": "When nothing of it will be left."}
    )
    texts_per_s = _moment("Texts with a result for each second since the first chunk was taken.")
    eta_s = _moment("Seconds until it has probably ended.")
    metadata = fields.Dict(required=True, keys=fields.String(), values=fields.String())
    error = fields.Nested(
        FailureSchema, required=True, allow_none=True, metadata={"description": "Why it failed."}
    )


class JobsSchema(Schema):
    """Some jobs, the newest first."""

    jobs = fields.List(fields.Nested(JobSchema), required=True)
    next_before = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "`before` of the next page; null on the last one."},
    )


class RowSchema(Schema):
    """One line: `label` and `confidence`, or `error`."""

    index = fields.Integer(required=True, metadata={"description": "The text's, from 0 on."})
    custom_id = fields.String(metadata={"description": "Where the text was given one."})
    label = fields.String()
    confidence = fields.Float(metadata={"minimum": 0, "maximum": 1})
    truncated = fields.Boolean(metadata={"description": "Only where true: it was cut off."})
    error = fields.Nested(FailureSchema)
    prediction_id = fields.String(metadata=PREDICTION_ID)


class TaskSchema(Schema):
    """A prediction that is not ready."""

    task_id = fields.String(required=True, metadata={"description": "Also that of a Celery task."})
    status = fields.String(required=True, metadata={"enum": [IN_PROGRESS]})


class TaskResultSchema(Schema):
    """The answer of /predict or, for a batch, of /batch-predict."""

    label = fields.String()
    confidence = fields.Float(metadata={"minimum": 0, "maximum": 1})
    latency_ms = fields.Float(metadata={"description": "Milliseconds until it was ready."})
    scores = fields.List(fields.Nested(ScoreSchema))
    truncated = fields.Boolean(metadata={"description": "Only where true: the text was cut off."})
    prediction_id = fields.String(metadata=PREDICTION_ID)
    predictions = fields.List(fields.Nested(BatchItemSchema))
    total_latency_ms = fields.Float(metadata={"description": "Milliseconds until it was ready."})
    model_version = fields.String(required=True)


EXAMPLE = {
    "id": "0d7f3a52-6f0e-4f5c-8a55-3a7b0a6f1c2d",
    "status": "in_progress",
    "model_version": "sentiment-v2",
    "request_counts": {"total": 200000, "completed": 84000, "failed": 2, "cancelled": 0},
    "created_at": 1795619700.114,
    "in_progress_at": 1795619702.482,
    "completed_at": None,
    "failed_at": None,
    "expired_at": None,
    "cancelling_at": None,
    "cancelled_at": None,
    "expires_at": 1795792502.482,
    "texts_per_s": 21043.5,
    "eta_s": 5.512,
    "metadata": {"batch": "7"},
    "error": None,
}


def retry_after_s(job: Job, now: float) -> int:
    """When it is worth asking for a running job again."""
    return round(min(max(job.eta_s(now) or 0, MIN_RETRY_S), MAX_RETRY_S))


def pending_task(task_id: str) -> dict[str, str]:
    """What `TaskSchema` documents."""
    return {"task_id": task_id, "status": IN_PROGRESS}


def _options() -> dict[str, fields.Field[Any]]:
    metadata = fields.Dict(
        allow_none=True,
        keys=fields.String(validate=Length(1, MAX_METADATA_KEY_CHARS)),
        values=fields.String(validate=Length(max=MAX_METADATA_VALUE_CHARS)),
        validate=_check_metadata,
        metadata={
            "description": f"{MAX_METADATA} pairs of texts of your own, told with the job.",
            "maxProperties": MAX_METADATA,
        },
    )
    # What a URL may be, `app.jobs.webhooks` says.
    webhook = fields.String(
        allow_none=True,
        metadata={"description": "An address that is told when the job has ended."},
    )
    return {"model_version": model_field(), "metadata": metadata, "webhook": webhook}


def _custom_id() -> fields.String:
    return fields.String(
        allow_none=True,
        validate=[Length(max=MAX_CUSTOM_ID_CHARS), _check_encodable],
        metadata={"description": "Told with the result."},
    )


def _check_metadata(pairs: dict[str, str]) -> None:
    # `Length` would be documented as that of a text.
    if len(pairs) > MAX_METADATA:
        raise ValidationError(f"Longer than maximum length {MAX_METADATA}.")
    for pair in pairs.items():
        _check_encodable("".join(pair))


def _check_encodable(text: str) -> None:
    if not _is_encodable(text):
        raise ValidationError("Contains a lone surrogate.")


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
