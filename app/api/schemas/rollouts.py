"""API process. Bodies of what changes models, and the rollout that they answer with."""

import msgspec
from marshmallow import Schema, fields
from marshmallow.validate import Regexp

from app.api.schemas.predict import MODEL_PATTERN, ModelVersion
from app.models.base import VERSION_PATTERN, Version
from app.settings import Limits

STATES = ("preparing", "done", "failed")


class SwapBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /models/<name>/swap`."""

    version: Version

    @classmethod
    def schema(cls, limits: Limits) -> Schema:
        """The same in marshmallow."""
        version = fields.String(
            required=True,
            validate=Regexp(VERSION_PATTERN, error="Must be a version, such as v2."),
            metadata={"description": "A version of that model which is on disk, such as `v2`."},
        )
        return Schema.from_dict({"version": version}, name="SwapRequest")()

    def is_clean(self, limits: Limits) -> bool:
        """The pattern says it all."""
        return True


class LoadBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /models/load`."""

    model_version: ModelVersion

    @classmethod
    def schema(cls, limits: Limits) -> Schema:
        """The same in marshmallow."""
        ref = fields.String(
            required=True,
            validate=Regexp(MODEL_PATTERN, error="Must be an exact version, such as sentiment-v2."),
            metadata={"description": "A version that is on disk, such as `sentiment-v2`."},
        )
        return Schema.from_dict({"model_version": ref}, name="LoadRequest")()

    def is_clean(self, limits: Limits) -> bool:
        """The pattern says it all."""
        return True


class RolloutWorkerSchema(Schema):
    """A live worker's part in a rollout."""

    hostname = fields.String(required=True)
    status = fields.String(required=True, metadata={"enum": ["ready", "waiting", "failed"]})
    error = fields.String(required=True, allow_none=True, metadata={"description": "Why not."})
    code = fields.String(
        required=True, allow_none=True, metadata={"description": "The kind of error."}
    )


class RolloutSchema(Schema):
    """A version on its way to every live worker, or how that ended. Times are in seconds since
    the epoch.
    """

    id = fields.String(required=True)
    kind = fields.String(
        required=True,
        metadata={"enum": ["swap", "load"], "description": "A swap also makes it active."},
    )
    model_version = fields.String(required=True)
    state = fields.String(
        required=True,
        metadata={
            "enum": list(STATES),
            "description": "`done`: every live worker holds it. `failed`: nothing has changed.",
        },
    )
    activated = fields.Boolean(
        required=True, metadata={"description": "Whether this made it the active version."}
    )
    previous_version = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The version that was active when it began, such as `v1`."},
    )
    workers = fields.List(fields.Nested(RolloutWorkerSchema), required=True)
    started_at = fields.Float(required=True)
    ended_at = fields.Float(required=True, allow_none=True)
    reason = fields.String(required=True, allow_none=True, metadata={"description": "Why not."})


EXAMPLE = {
    "id": "5f0c8d6f0b4f4d4e9d8f3b1a2c3d4e5f",
    "kind": "swap",
    "model_version": "sentiment-v1",
    "state": "done",
    "activated": True,
    "previous_version": "v2",
    "workers": [{"hostname": "cpu1@vm", "status": "ready", "error": None, "code": None}],
    "started_at": 1795479142.114,
    "ended_at": 1795479142.482,
    "reason": None,
}
