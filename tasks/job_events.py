"""Worker process. A job as Celery's monitors see a task: events under its id, for Flower.

They go through the dispatcher of the worker, so they are sent where the events of tasks are: by
workers that were started with -E or told to by `control enable_events`.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Protocol

from celery.states import FAILURE, REVOKED, SUCCESS
from celery.utils.saferepr import saferepr

from app.jobs.records import Job
from tasks.job_states import PROGRESS, progress_of

JOB, TASK = "mlserve.job", "mlserve.put_off_prediction"

TYPES = MappingProxyType(
    {
        PROGRESS: "task-progress",
        SUCCESS: "task-succeeded",
        FAILURE: "task-failed",
        REVOKED: "task-revoked",
    }
)


class Dispatcher(Protocol):
    """What is needed of `celery.events.EventDispatcher`."""

    def send(self, type: str, **fields: Any) -> None:
        """Send an event, if those of its group are wanted."""
        ...


class JobEvents:
    """Tells monitors of jobs; `dispatcher` is that of the worker, another one after a reconnect."""

    def __init__(self, dispatcher: Callable[[], Dispatcher | None]) -> None:
        self._dispatcher = dispatcher

    def tell(self, job: Job, before: Job | None, state: str, result: Any) -> None:
        """Send what is new since `before`, which this worker told; `state` is that of Celery."""
        dispatcher = self._dispatcher()
        if dispatcher is None:
            return
        known = _fields(job)
        if before is None:
            dispatcher.send("task-received", **known)
        if job.started_at is not None and (before is None or before.started_at is None):
            dispatcher.send("task-started", **known)
        dispatcher.send(TYPES[state], **known | _outcome(job, state, result))


def _fields(job: Job) -> dict[str, Any]:
    """What each event says, for a monitor may have been started after the first one."""
    fields = {
        "uuid": job.id,
        "root_id": job.id,
        "name": JOB if job.spec.question is None else TASK,
        # No text of the caller's, and no metadata.
        "args": saferepr((job.spec.ref,)),
        "kwargs": saferepr({"texts": job.counts.total}),
        "retries": 0,
        "received": job.submitted_at,
    }
    return fields if job.started_at is None else fields | {"started": job.started_at}


def _outcome(job: Job, state: str, result: Any) -> dict[str, Any]:
    if state == SUCCESS:
        return {"result": saferepr(result), "runtime": _runtime_s(job)}
    fields: dict[str, Any] = {"result": saferepr(progress_of(job))}
    if state == FAILURE:
        return fields | {"exception": saferepr(result), "traceback": ""}
    if state == REVOKED:
        # Celery takes "revoked" for older than a state that is not its own, and would not show it.
        return fields | {"terminated": False, "signum": None, "expired": False, "state": REVOKED}
    return fields


def _runtime_s(job: Job) -> float:
    ended_at = job.ended_at or job.expires_at
    return max(0.0, ended_at - (job.started_at or ended_at))
