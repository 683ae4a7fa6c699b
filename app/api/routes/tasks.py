"""API process. GET /tasks/<id>: a prediction that its caller did not wait for."""

from typing import Any

import msgspec
from flask import Response

from app.api.extensions import RETRY_AFTER_HEADER, Blueprint
from app.api.gate import JSON_TYPE
from app.api.routes.common import ASK_AGAIN_S, MAX_ID_CHARS, PREDICTION_EXAMPLE
from app.api.schemas.jobs import TaskResultSchema, TaskSchema, pending_task
from app.api.services import services
from app.errors import (
    BrokerUnavailable,
    JobExpired,
    JobFailed,
    MessageRefused,
    ServingError,
    TaskCancelled,
    TaskNotFound,
    TextFailed,
    TextGivenUp,
    TextHung,
    TextOutOfMemory,
)

NO_ANSWER = (TextFailed, TextOutOfMemory, TextGivenUp, TextHung, JobFailed, JobExpired)
CANNOT_READ = (BrokerUnavailable, MessageRefused, ServingError)
EXAMPLE = PREDICTION_EXAMPLE | {"latency_ms": 412.8}

blp = Blueprint("tasks", __name__, description="Predictions that nobody waits for")


@blp.route("/tasks/<task_id>")
@blp.returns(TaskResultSchema, example=EXAMPLE)
@blp.also(
    202,
    TaskSchema,
    example=pending_task("7c0f0f5e-3c0e-4d0c-9a53-0d2d3a3c6c1b"),
    description="It is not ready.",
    headers=RETRY_AFTER_HEADER,
)
@blp.raises(TaskNotFound, TaskCancelled, *NO_ANSWER, *CANNOT_READ)
def get_task(task_id: str) -> Response:
    """The answer of a request with `Prefer: respond-async`, or of one that timed out."""
    has = services()
    tasks, feedback = has.tasks, has.feedback
    job, question = tasks.read(task_id[:MAX_ID_CHARS])
    if not job.has_ended:
        return _answer(pending_task(job.id), 202, {"Retry-After": str(ASK_AGAIN_S)})
    id_of = feedback.ids_of(job) if feedback else None
    return _answer(tasks.answer(job, question, id_of), 200, {})


def _answer(body: dict[str, Any], status: int, headers: dict[str, str]) -> Response:
    given = headers | {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(body), status, given, content_type=JSON_TYPE)
