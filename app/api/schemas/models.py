"""API process. Answers of /models."""

from typing import get_args

from marshmallow import Schema, fields

from app.fleet import FAILED, READY, RETIRING
from app.models.standing import Status

STATUSES = get_args(Status)


class HolderSchema(Schema):
    """What one live worker says of a version."""

    hostname = fields.String(required=True)
    device = fields.String(required=True)
    status = fields.String(required=True, metadata={"enum": [READY, RETIRING, FAILED]})
    error = fields.String(required=True, allow_none=True)
    code = fields.String(
        required=True, allow_none=True, metadata={"description": "The kind of error."}
    )
    memory_bytes = fields.Integer(required=True)
    loaded_at = fields.Float(required=True, metadata={"description": "Seconds since the epoch."})


class ClassFiguresSchema(Schema):
    """Held-out figures of one label."""

    precision = fields.Float(required=True)
    recall = fields.Float(required=True)
    f1 = fields.Float(required=True)
    support = fields.Integer(required=True, metadata={"description": "Its held-out texts."})


class TrainingDataSchema(Schema):
    """What the version learned from."""

    name = fields.String(required=True)
    sha256 = fields.String(required=True)
    texts = fields.Integer(required=True)
    held_out_texts = fields.Integer(required=True)


class MetadataSchema(Schema):
    """How the version came to be and what it is worth, measured on texts it never saw."""

    accuracy = fields.Float(required=True, allow_none=True)
    macro_f1 = fields.Float(required=True, allow_none=True)
    per_class = fields.Dict(
        required=True, keys=fields.String(), values=fields.Nested(ClassFiguresSchema)
    )
    trained_at = fields.String(required=True, allow_none=True)
    training_data = fields.Nested(TrainingDataSchema, required=True, allow_none=True)
    recipe = fields.String(required=True, allow_none=True)
    seed = fields.Integer(required=True, allow_none=True)
    features = fields.List(fields.String(), required=True)
    description = fields.String(required=True)


class ModelSchema(Schema):
    """One version of a model. What its manifest would say is null where the manifest is wrong."""

    ref = fields.String(required=True, metadata={"description": "`name-version`."})
    name = fields.String(required=True)
    version = fields.String(required=True)
    active = fields.Boolean(
        required=True, metadata={"description": "Whether the bare name stands for this version."}
    )
    default = fields.Boolean(
        required=True, metadata={"description": "Whether requests that name no model get it."}
    )
    status = fields.String(
        required=True,
        metadata={
            "enum": list(STATUSES),
            "description": "`ready`: a live worker holds it; `loading`: workers are to hold it, "
            "and none does yet; `retiring`: it is kept for requests on their way; `unloaded`: no "
            "worker is to hold it; `failed`, `unavailable`: see `reason`.",
        },
    )
    reason = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Why not, or why not on every worker."},
    )
    code = fields.String(
        required=True, allow_none=True, metadata={"description": "The kind of error in `reason`."}
    )
    workers = fields.List(fields.Nested(HolderSchema), required=True)
    format = fields.String(required=True, allow_none=True)
    device = fields.String(required=True, allow_none=True)
    labels = fields.List(fields.String(), required=True, allow_none=True)
    digest = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "SHA-256 over all that decides an answer."},
    )
    size_bytes = fields.Integer(
        required=True, allow_none=True, metadata={"description": "All artifacts together."}
    )
    metadata = fields.Nested(MetadataSchema, required=True, allow_none=True)


class ModelsSchema(Schema):
    """All versions on disk, sorted by ref."""

    default_model = fields.String(required=True)
    models = fields.List(fields.Nested(ModelSchema), required=True)
