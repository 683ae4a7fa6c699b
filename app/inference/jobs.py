"""API process. Bulk jobs as a caller sees them: submitted, asked for, read and cancelled.

All methods raise `BrokerUnavailable` where Redis cannot be reached.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from typing import Any, Protocol

from celery import Celery

from app.broker import broker_errors, make_celery, redis_client
from app.dispatch import Dispatcher
from app.errors import (
    BrokerUnavailable,
    CancelRefused,
    IdempotencyKeyReused,
    JobGone,
    JobNotFound,
    SubmissionInProgress,
    SubmissionLost,
)
from app.inference.service import Predictions
from app.jobs import results, webhooks
from app.jobs.chunks import Chunks
from app.jobs.idempotency import Key
from app.jobs.ledger import Ledger
from app.jobs.records import Job, JobSpec, Metadata, Page, Row
from app.jobs.submission import Submission
from app.models.base import Ref
from app.settings import Settings

logger = logging.getLogger(__name__)

CANCELLED = ("cancelling", "cancelled")

Tell = Callable[[Job], dict[str, Any]]


class Options(Protocol):
    """What a job is given besides its texts."""

    @property
    def model_version(self) -> str | None:
        """As `Catalog.resolve` has it."""
        ...

    @property
    def metadata(self) -> Metadata | None:
        """The caller's own."""
        ...

    @property
    def webhook(self) -> str | None:
        """Who is told of the end."""
        ...


class Source(Protocol):
    """A job on its way in; `items` is to be read once."""

    @property
    def options(self) -> Options:
        """All but the texts."""
        ...

    def items(self) -> Iterator[tuple[str, str | None]]:
        """Each text with its custom id; may raise what is wrong with one."""
        ...

    def fingerprint(self) -> str:
        """The same for equal sources; reads what is left."""
        ...


class BulkJobs:
    """The jobs of one service. Safe for several threads."""

    def __init__(
        self, settings: Settings, predictions: Predictions, now: Callable[[], float]
    ) -> None:
        self._settings, self._predictions = settings, predictions
        self._redis = redis_client(settings)
        self.ledger = Ledger(self._redis, settings.jobs, now)

    def submit(self, source: Source, key: str | None, tell: Tell) -> tuple[dict[str, Any], bool]:
        """What `tell` says of the accepted job, and whether that was said before under this `key`.

        Raises what `source` raises, `ModelNotFound`, `NoWorker` or `ModelUnavailable`, `JobEmpty`,
        `JobTooLarge`, `StorageFull`, `SubmissionLost` or `WebhookRefused`; `SubmissionInProgress`
        and `IdempotencyKeyReused`. Then nothing of the job stays.
        """
        if key is None:
            return tell(self._accept(source)), False
        with broker_errors():
            taken = Key(self._redis, key, self._key_ttl_s()).take()
            if taken.used is not None:
                return self._again(taken, source, tell), True
            with taken:
                job = self._accept(source, taken)
            answer = tell(job)
            with suppress(SubmissionLost):
                taken.answered(answer)
        return answer, False

    def accept(
        self,
        spec: JobSpec,
        items: Iterable[tuple[str, str | None]],
        on_item: Callable[[], None] = lambda: None,
        on_end: Callable[[str], None] = lambda job_id: None,
    ) -> Job:
        """Accept a job whole, and send its first chunks; raises as `submit`.

        `on_item` is called after each text, `on_end` with the job's id before it is accepted.
        """
        with broker_errors(), Submission(self.ledger, spec) as submission:
            for text, custom_id in items:
                submission.add(text, custom_id)
                on_item()
            on_end(submission.job_id)
            job = submission.seal()
        self._pump(job)
        return job

    def spec(self, model_version: str | Ref | None, **options: Any) -> JobSpec:
        """What a job is to do, its version pinned now; `options` are the other fields."""
        target, queue = self._predictions.pin(model_version)
        return JobSpec(
            ref=target.ref,
            digest=target.digest,
            labels=target.labels,
            queue=queue,
            with_scores=self._settings.monitoring.feedback,
            **options,
        )

    def read(self, job_id: str) -> Job:
        """One look at a job; `JobNotFound` or `JobGone`."""
        with broker_errors():
            job = self.ledger.read(job_id)
        if job.spec.question is not None:
            raise JobNotFound(job_id)
        return job

    def page(self, limit: int, before: str | None) -> Page:
        """Some jobs, the newest first; `JobNotFound` where there is no job `before`."""
        with broker_errors():
            return self.ledger.page(limit, before)

    def open(self, limit: int) -> list[Job]:
        """Some jobs that have not ended."""
        with broker_errors():
            return self.ledger.open(limit)

    def cancel(self, job_id: str) -> Job:
        """Start no chunk of it any more; `CancelRefused` where it has ended otherwise."""
        self.read(job_id)
        with broker_errors():
            job = self.ledger.cancel(job_id)
        if job.status not in CANCELLED:
            raise CancelRefused(job_id, job.status)
        return job

    def rows(self, job_id: str, after: int) -> Iterator[Row]:
        """The results after text number `after`, as `results.rows` has them."""
        self.read(job_id)
        return self._rows(job_id, after)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
        if "_celery" in vars(self):
            self._celery.close()

    def _rows(self, job_id: str, after: int) -> Iterator[Row]:
        with broker_errors():
            yield from results.rows(self.ledger, job_id, after)

    def _accept(self, source: Source, key: Key | None = None) -> Job:
        options = source.options
        if options.webhook is not None:
            webhooks.check(options.webhook, self._settings)
        spec = self.spec(
            options.model_version, metadata=options.metadata or {}, webhook=options.webhook
        )
        if key is None:
            return self.accept(spec, source.items())

        def bind(job_id: str) -> None:
            key.bind(job_id, source.fingerprint())

        return self.accept(spec, source.items(), key.renew, bind)

    def _key_ttl_s(self) -> int:
        # Never free before the job is: it may run that long, and then its results are kept.
        return self._settings.jobs.max_run_seconds + self._settings.jobs.result_ttl_seconds

    def _again(self, key: Key, source: Source, tell: Tell) -> dict[str, Any]:
        use = key.used
        if use is None or use.job_id is None:
            raise SubmissionInProgress()
        if source.fingerprint() != use.fingerprint:
            raise IdempotencyKeyReused()
        if use.answer is not None:
            return use.answer
        try:
            job = self.ledger.read(use.job_id)
        except (JobNotFound, JobGone):
            # Whoever submitted it died before it was accepted.
            key.release()
            raise SubmissionLost() from None
        if job.status == "validating":
            raise SubmissionInProgress()
        return tell(job)

    @cached_property
    def _celery(self) -> Celery:
        return make_celery(self._settings, "api")

    @cached_property
    def _dispatcher(self) -> Dispatcher:
        return Dispatcher(self._celery, Chunks(self.ledger))

    def _pump(self, job: Job) -> None:
        try:
            with broker_errors():
                self._dispatcher.pump(job.id, job.spec)
        except BrokerUnavailable as error:
            # The workers' sweepers will send it.
            logger.warning("job not sent yet", extra={"cause": repr(error.__cause__)})
