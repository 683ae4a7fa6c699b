"""API process. Predictions that nobody waits for: asked for by the id of a task.

A task is a job of one request: durable, computed behind what somebody waits for, and known to
Celery by the same id. It is in no list of jobs.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from app.broker import broker_errors
from app.errors import (
    JobGone,
    JobNotFound,
    Overloaded,
    PredictionTimeout,
    ServingError,
    TaskNotFound,
)
from app.inference.jobs import BulkJobs
from app.jobs.answers import answer
from app.jobs.records import Job, Question, Row
from app.models.base import Ref

# So much later than its time limit may a caller hear that a task goes on with it. Redis takes a few
# milliseconds for that, unless it hangs.
MAX_KEEP_S = 0.5
# One worker looks after every job that has not ended, each second.
MAX_OPEN = 1000
ASK_AGAIN_S = 5


class Tasks:
    """The tasks of one service. All methods raise `BrokerUnavailable` without Redis."""

    def __init__(self, jobs: BulkJobs) -> None:
        self._jobs = jobs

    async def put(
        self, texts: list[str], model_version: str | Ref | None, question: Question
    ) -> str:
        """The id of a new task; raises as `BulkJobs.submit`, or `Overloaded`."""
        return await asyncio.to_thread(self._put, texts, model_version, question)

    async def keep(
        self, late: PredictionTimeout, texts: list[str], question: Question
    ) -> PredictionTimeout:
        """`late` with a task that goes on, by the same version; itself where none can."""
        try:
            # As a name, a ref might be read as that of another model.
            ref = None if late.ref is None else Ref.parse(late.ref)
            async with asyncio.timeout(MAX_KEEP_S):
                task_id = await self.put(texts, ref, question)
        except (ServingError, TimeoutError):
            return late
        return PredictionTimeout(late.args[0], late.ref, task_id)

    def read(self, task_id: str) -> tuple[Job, Question]:
        """How far a task is, and what it was asked; `TaskNotFound`."""
        try:
            with broker_errors():
                job = self._jobs.ledger.read(task_id)
        except (JobNotFound, JobGone):
            raise TaskNotFound(task_id) from None
        if job.spec.question is None:
            raise TaskNotFound(task_id)
        return job, job.spec.question

    def answer(
        self, job: Job, question: Question, id_of: Callable[[Row], str | None] | None = None
    ) -> dict[str, Any]:
        """The prediction of a task that has ended, or why there is none; see `app.jobs.answers`."""
        try:
            with broker_errors():
                return answer(self._jobs.ledger, job, question, id_of)
        except (JobNotFound, JobGone):
            raise TaskNotFound(job.id) from None

    def _put(self, texts: list[str], model_version: str | Ref | None, question: Question) -> str:
        spec = self._jobs.spec(model_version, question=question)
        with broker_errors():
            if self._jobs.ledger.count_open() >= MAX_OPEN:
                raise Overloaded(ASK_AGAIN_S)
        return self._jobs.accept(spec, [(text, None) for text in texts]).id
