"""Worker process. A job as Celery sees a task: its state and progress in the result backend.

So `AsyncResult(job_id)` shows what `GET /jobs/<id>` shows, a second later; for a task the result is
the prediction.
"""

from typing import Any

from celery import Celery
from celery.exceptions import TaskRevokedError
from celery.states import FAILURE, REVOKED, SUCCESS

from app.errors import JobExpired, JobFailed, ServingError
from app.jobs.answers import answer
from app.jobs.ledger import Ledger
from app.jobs.records import Job

PROGRESS = "PROGRESS"


class JobStates:
    """Writes through the result backend of one Celery app."""

    def __init__(self, celery: Celery, ledger: Ledger) -> None:
        self._celery, self._ledger = celery, ledger

    def tell(self, job: Job) -> tuple[str, Any]:
        """Store the state of a job, for as long as the job itself is kept, and return it.

        With it goes the result or exception.
        """
        backend = self._celery.backend
        state, result = self._state(job)
        backend.store_result(job.id, result, state)
        left_s = max(1, round(job.expires_at - self._ledger.now()))
        self._ledger.redis.expire(backend.get_key_for_task(job.id), left_s)
        return state, result

    def _state(self, job: Job) -> tuple[str, Any]:
        if job.spec.question is None or job.status != "completed":
            return state_of(job)
        try:
            return SUCCESS, answer(self._ledger, job, job.spec.question)
        except ServingError as error:
            return FAILURE, error


def state_of(job: Job) -> tuple[str, Any]:
    """Celery's state of a job, and the result or exception that goes with it."""
    match job.status:
        case "cancelled":
            return REVOKED, TaskRevokedError("cancelled")
        case "expired":
            return FAILURE, JobExpired()
        case "failed":
            return FAILURE, JobFailed(job.error.message if job.error else "")
    return (SUCCESS if job.status == "completed" else PROGRESS), progress_of(job)


def progress_of(job: Job) -> dict[str, int]:
    """The counts, by the names that HTTP has for them."""
    counts = job.counts
    return {
        "total": counts.total,
        "completed": counts.succeeded,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
    }
