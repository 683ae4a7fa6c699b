"""API process. The answer of /stats."""

from typing import get_args

from marshmallow import Schema, fields

from app.api.schemas.jobs import JobSchema
from app.monitoring.drift.verdict import Verdict


def _counts(description: str) -> fields.Dict:
    return fields.Dict(
        required=True,
        keys=fields.String(),
        values=fields.Integer(),
        metadata={"description": description},
    )


class LatencySchema(Schema):
    """Percentiles of one route, interpolated in the buckets of its histogram."""

    route = fields.String(required=True)
    requests = fields.Integer(required=True)
    p50_ms = fields.Float(required=True)
    p95_ms = fields.Float(required=True)
    p99_ms = fields.Float(required=True)


class PredictionCountSchema(Schema):
    """How often a version gave a label."""

    model = fields.String(required=True)
    version = fields.String(required=True)
    label = fields.String(required=True)
    texts = fields.Integer(required=True)


class CountsSchema(Schema):
    """What was counted since `uptime_s` seconds ago, over all API processes."""

    uptime_s = fields.Float(required=True)
    requests = fields.Integer(required=True)
    responses = _counts("Responses by HTTP status.")
    errors = _counts("Errors by the `code` of their body.")
    latency = fields.List(fields.Nested(LatencySchema), required=True)
    predictions = fields.List(fields.Nested(PredictionCountSchema), required=True)
    cache = _counts("Texts by `hit`, `coalesced` or `miss`, as in `X-Cache`.")


class WorkerSchema(Schema):
    """A live worker, from its last heartbeat."""

    hostname = fields.String(required=True)
    pid = fields.Integer(required=True)
    device = fields.String(required=True)
    queues = fields.List(fields.String(), required=True)
    ready = fields.List(fields.String(), required=True, metadata={"description": "Refs it holds."})
    retiring = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "Refs that it keeps for requests on their way."},
    )
    failed = fields.Dict(
        required=True,
        keys=fields.String(),
        values=fields.String(),
        metadata={"description": "Refs that it could not load, and why."},
    )
    memory_bytes = fields.Integer(required=True)
    chunks = fields.Integer(required=True, metadata={"description": "Chunks answered."})
    generation = fields.Integer(
        required=True,
        metadata={"description": "Of the changes of what should be held, the last it has seen to."},
    )
    started_at = fields.Float(required=True, metadata={"description": "Seconds since the epoch."})


class HealthSchema(Schema):
    """Whether predictions can be made."""

    status = fields.String(required=True, metadata={"enum": ["ok", "degraded", "down"]})
    reasons = fields.List(fields.String(), required=True)


class StatsSchema(Schema):
    """Figures of the whole service."""

    health = fields.Nested(HealthSchema, required=True)
    counts = fields.Nested(
        CountsSchema,
        required=True,
        allow_none=True,
        metadata={"description": "Null where monitoring is disabled."},
    )
    redis_reachable = fields.Boolean(required=True)
    queues = _counts("Waiting messages by queue.")
    queue_age_s = fields.Dict(
        required=True,
        allow_none=True,
        keys=fields.String(),
        values=fields.Float(),
        metadata={
            "description": "How long the oldest of them has waited, 0 where none does; null"
            " without Redis."
        },
    )
    drift = fields.Dict(
        required=True,
        allow_none=True,
        keys=fields.String(),
        values=fields.String(metadata={"enum": list(get_args(Verdict))}),
        metadata={
            "description": "The verdict of `GET /models/<ref>/drift` on each version that workers"
            " hold, at most ten seconds old; null without Redis, or with `drift.enabled: false`."
        },
    )
    workers = fields.List(fields.Nested(WorkerSchema), required=True)
    jobs = fields.List(
        fields.Nested(JobSchema),
        required=True,
        allow_none=True,
        metadata={"description": "Some that have not ended; null without Redis."},
    )
