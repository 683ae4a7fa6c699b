"""Shared. Looks after the jobs that have not ended: nothing of them is lost for long.

Every worker has a sweeper, and one of them at a time does the work, for as long as it renews a
short lease. Two that do it at once do no harm: each step is one script that may run anywhere, any
number of times. The lease only saves Redis from being asked the same by everybody.
"""

import uuid
from collections.abc import Callable, Collection
from contextlib import suppress

import redis

from app import fleet
from app.errors import JobGone, JobNotFound, Unavailable
from app.fleet import Fleet
from app.jobs.chunks import Chunks
from app.jobs.records import Job, JobSpec

SWEEP_S = 1.0
# Another one takes over so long after the last step of one that died.
LEASE_S = 3.0


class Sweeper:
    """Takes back what was lost, sends what is to be sent, and tells how far each job is.

    `pump` sends chunks of a job. `tell` is told of a job whose state or counts have changed, with
    what this sweeper told of it before, if anything; the last time when it has ended. Until it has
    come through that time, the job is looked after. `is_revoked` says whether somebody has revoked
    the task of that id. `pinned` are the refs of all jobs that have not ended.
    """

    def __init__(
        self,
        chunks: Chunks,
        *,
        pump: Callable[[str, JobSpec], object],
        tell: Callable[[Job, Job | None], None],
        is_revoked: Callable[[str], bool],
    ) -> None:
        self._chunks, self._pump, self._tell, self._is_revoked = chunks, pump, tell, is_revoked
        self._name = uuid.uuid4().hex
        self._told: dict[str, Job] = {}
        self._refs: dict[str, str] = {}
        self.pinned: frozenset[str] = frozenset()

    def step(self) -> None:
        """One look at every job; raises redis errors, and what went wrong with one job at the end.

        A job that cannot be looked after does not keep others from it.
        """
        active = dict.fromkeys(self._chunks.active())
        new = self._chunks.refs(job_id for job_id in active if job_id not in self._refs)
        self._refs = {id_: ref for id_, ref in (self._refs | new).items() if id_ in active}
        self._cancel_revoked(active)
        errors = self._lead(active)
        self.pinned = frozenset(self._refs.values())
        if errors:
            # What is wrong may be wrong with this process only.
            self._chunks.lease.resign(self._name)
            raise errors[0]

    def report(self, job_id: str) -> None:
        """Tell of a job that has ended here, whoever looks after it; raises redis errors."""
        with suppress(JobGone, JobNotFound, Unavailable):
            self._report(self._chunks.ledger.read(job_id))

    def _cancel_revoked(self, active: Collection[str]) -> None:
        # Each worker for itself: who was started later does not know what was revoked.
        for job_id in filter(self._is_revoked, active):
            with suppress(JobGone, JobNotFound, Unavailable):
                self._chunks.ledger.cancel(job_id)

    def _lead(self, active: Collection[str]) -> list[Exception]:
        """Look after the jobs, if that is for this sweeper to do; what went wrong with them."""
        if not active or not self._chunks.lease.take(self._name, LEASE_S):
            self._told = {}
            return []
        self._told = {job_id: job for job_id, job in self._told.items() if job_id in active}
        seen = fleet.read(self._chunks.ledger.redis)
        live = {host.incarnation for host in seen.hosts}
        most = len(active) * self._chunks.ledger.limits.max_queued_chunks
        full = {queue for queue, messages in seen.queues.items() if messages >= most}
        errors: list[Exception] = []
        for job_id in active:
            try:
                self._look_after(job_id, live, seen, full)
            except redis.ConnectionError:
                raise
            except Exception as error:  # noqa: BLE001 - raised by the caller
                errors.append(error)
        return errors

    def _look_after(
        self, job_id: str, live: Collection[str], seen: Fleet, full: Collection[str]
    ) -> None:
        ledger = self._chunks.ledger
        try:
            job = ledger.read(job_id)
            if not job.has_ended:
                queue = job.spec.queue
                holders = [host.incarnation for host in seen.holders(job.spec.ref, queue)]
                is_empty = not seen.queues.get(queue, 0)
                self._chunks.sweep(job_id, live, is_empty, holders, queue in full)
                self._pump(job_id, job.spec)
                job = ledger.read(job_id)
            self._report(job)
        except (JobGone, JobNotFound):
            self._settle(job_id)

    def _report(self, job: Job) -> None:
        told = self._told.get(job.id)
        if told is None or _shown(told) != _shown(job):
            self._tell(job, told)
            now = job if job.has_ended else self._chunks.ledger.read(job.id)
            if now.has_ended and not job.has_ended:
                # Whoever told of the end while this was on its way was overwritten.
                self._tell(now, job)
                job = now
            self._told[job.id] = job
        if job.has_ended:
            self._settle(job.id)

    def _settle(self, job_id: str) -> None:
        self._chunks.settle(job_id)
        self._refs.pop(job_id, None)


def _shown(job: Job) -> tuple[object, ...]:
    return job.status, job.counts, job.started_at
