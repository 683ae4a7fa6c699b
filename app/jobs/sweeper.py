"""Shared. Looks after the jobs that have not ended: nothing of them is lost for long.

Every worker sweeps every second and none leads: each step is one script that may run anywhere, any
number of times.
"""

from collections.abc import Callable, Collection

import redis

from app import fleet
from app.errors import JobGone, JobNotFound
from app.fleet import Fleet
from app.jobs.chunks import Chunks
from app.jobs.records import Job, JobSpec

SWEEP_S = 1.0


class Sweeper:
    """Takes back what was lost, sends what is to be sent, and tells how far each job is.

    `pump` sends chunks of a job. `tell` is told of a job whose counts have changed, the last time
    when it has ended; until it has come through that time, the job is looked after. `is_revoked`
    says whether somebody has revoked the task of that id. `pinned` are the refs of all jobs that
    have not ended.
    """

    def __init__(
        self,
        chunks: Chunks,
        *,
        pump: Callable[[str, JobSpec], object],
        tell: Callable[[Job], None],
        is_revoked: Callable[[str], bool],
    ) -> None:
        self._chunks, self._pump, self._tell, self._is_revoked = chunks, pump, tell, is_revoked
        self._told: dict[str, Job] = {}
        self.pinned: frozenset[str] = frozenset()

    def step(self) -> None:
        """One look at every job; raises redis errors, and what went wrong with one job at the end.

        A job that cannot be looked after does not keep others from it.
        """
        active = self._chunks.active()
        self._told = {job_id: job for job_id, job in self._told.items() if job_id in active}
        seen = fleet.read(self._chunks.ledger.redis) if active else Fleet(reachable=True)
        live = {host.incarnation for host in seen.hosts}
        pinned, errors = set(), []
        for job_id in active:
            try:
                job = self._look_after(job_id, live, seen)
            except redis.ConnectionError:
                raise
            except Exception as error:  # noqa: BLE001 - raised below
                errors.append(error)
            else:
                pinned |= {job.spec.ref} if job and not job.has_ended else set()
        self.pinned = frozenset(pinned) | (self.pinned if errors else set())
        if errors:
            raise errors[0]

    def _look_after(self, job_id: str, live: Collection[str], seen: Fleet) -> Job | None:
        ledger = self._chunks.ledger
        try:
            job = ledger.read(job_id)
            if not job.has_ended:
                if self._is_revoked(job_id):
                    ledger.cancel(job_id)
                self._chunks.sweep(job_id, live, not seen.queues.get(job.spec.queue, 0))
                self._pump(job_id, job.spec)
                job = ledger.read(job_id)
            return self._report(job)
        except (JobGone, JobNotFound):
            self._chunks.settle(job_id)
            return None

    def _report(self, job: Job) -> Job:
        told = self._told.get(job.id)
        if told is None or (told.status, told.counts) != (job.status, job.counts):
            self._tell(job)
            if not job.has_ended:
                # Whoever told of the end while this was on its way was overwritten.
                job = self._chunks.ledger.read(job.id)
                if job.has_ended:
                    self._tell(job)
            self._told[job.id] = job
        if job.has_ended:
            self._chunks.settle(job.id)
        return job
