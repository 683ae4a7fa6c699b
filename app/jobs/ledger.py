"""Shared. The life of a job, as those see it who submit it, ask for it and cancel it.

Redis holds the only truth of a job; every step is one script (`scripts`), so that at every moment
total = succeeded + failed + cancelled + pending. What workers do with its chunks is in `chunks`.
All methods raise redis errors where Redis cannot be reached.
"""

import logging
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import redis

from app.contract import Failure
from app.errors import JobGone, JobNotFound, MessageRefused, StorageFull, SubmissionLost
from app.jobs import blobs, prelude, scripts
from app.jobs.keys import ACTIVE_KEY, GONE, JOBS_KEY, job_key, keys_of, part_key
from app.jobs.records import JOB_ID, Counts, Job, JobSpec, Page, Status
from app.settings import Jobs

logger = logging.getLogger(__name__)

# What was received of a job whose submission stops is gone after so long.
VALIDATING_TTL_S = 60
# So long an expired job is answered with 410.
GONE_TTL_S = 7 * 86_400
# No job lives longer: the settings let one run for 30 days, and be kept for 30 after its end.
LISTED_S = 90 * 86_400
# The part of Redis's memory that jobs may fill: queues and answers need the rest.
MAX_MEMORY_SHARE = 0.75
# Jobs that have expired are found in the list, and leave it: a page looks so often at so many more.
MORE_LOOKS, MORE_NAMES = 10, 100


class Ledger:
    """The jobs in one Redis; `now` is in Redis server seconds. Safe for several threads."""

    def __init__(self, client: "redis.Redis", limits: Jobs, now: Callable[[], float]) -> None:
        self.redis, self.limits, self.now = client, limits, now
        self._scripts: dict[str, Any] = {}
        # Ids of jobs of which it was told that they cannot be read.
        self._unread: set[str] = set()

    def create(self, spec: JobSpec) -> str:
        """Begin a submission (status `validating`): the id of the job. See `app.jobs.submission`.

        It vanishes by itself unless it is appended to or sealed within `VALIDATING_TTL_S` seconds.
        """
        job_id = str(uuid.uuid4())
        key = job_key(job_id)
        fields: dict[Any, Any] = {
            "status": "validating",
            "spec": msgspec.json.encode(spec),
            "created_at": self.now(),
            "expires_at": self.now() + VALIDATING_TTL_S,
            "max_run_s": self.limits.max_run_seconds,
            "result_ttl_s": self.limits.result_ttl_seconds,
            "gone_ttl_s": GONE_TTL_S,
            **dict.fromkeys(("total", "succeeded", "failed", "cancelled", "cursor"), 0),
        }
        with _memory(0), self.redis.pipeline() as pipe:
            pipe.hset(key, mapping=fields)
            pipe.expire(key, VALIDATING_TTL_S)
            pipe.execute()
        return job_id

    def append(self, job_id: str, block: int, texts: Sequence[str], ids: blobs.Ids) -> None:
        """Add block number `block` of `blobs.BLOCK_TEXTS` texts; only the last one may have less.

        Raises `SubmissionLost` and `StorageFull`.
        """
        content, custom_ids = blobs.encode_texts(texts), blobs.encode_ids(ids)
        with _memory(len(content)):
            known = self.run("APPEND", job_id, block, content, custom_ids, VALIDATING_TTL_S)
        if not known:
            raise SubmissionLost()

    def seal(self, job_id: str, blocks: int, texts: int, is_listed: bool = True) -> Job:
        """Accept the job with all its texts, in one step; `SubmissionLost` where some are gone.

        Only where it `is_listed`, `page` has it.
        """
        with _memory(0):
            if not self.run("SEAL", job_id, blocks, texts, int(is_listed), LISTED_S):
                raise SubmissionLost()
        return self.read(job_id)

    def discard(self, job_id: str) -> None:
        """Remove everything of a job, as if it had never been."""
        with self.redis.pipeline() as pipe:
            pipe.delete(*keys_of(job_id)[:9])
            pipe.zrem(JOBS_KEY, job_id)
            pipe.zrem(ACTIVE_KEY, job_id)
            pipe.execute()

    def read(self, job_id: str) -> Job:
        """One look at a job; `JobNotFound`, or `JobGone` where it has expired.

        A job that is being submitted is found too, with status `validating`. `MessageRefused` where
        another version of mlserve wrote it, so that this one cannot read it.
        """
        if not JOB_ID.fullmatch(job_id):
            raise JobNotFound(job_id)
        with self.redis.pipeline() as pipe:
            pipe.hgetall(job_key(job_id))
            pipe.exists(part_key(job_id, GONE))
            fields, was_here = pipe.execute()
        if b"spec" in fields:
            return _job(job_id, fields)
        raise JobGone(job_id) if was_here else JobNotFound(job_id)

    def page(self, limit: int, before: str | None = None) -> Page:
        """At most `limit` jobs, the newest first; `before` is the `next_before` of another page.

        Those that `read` cannot read are left out. `JobNotFound` where `before` is no job any more.
        Where very many have expired, a page has less than there are, and says where to go on.
        """
        start = self._place_after(before)
        jobs: list[Job] = []
        gone: list[str] = []
        for size in (limit + 1, *[MORE_NAMES] * MORE_LOOKS):
            names, rows = self._listed(start, size)
            jobs += self._readable(rows)
            gone += [name for name in names if b"spec" not in rows[name]]
            start += size
            if len(jobs) > limit or len(names) < size:
                break
        last = jobs[limit - 1].id if len(jobs) > limit else None
        if last is None and len(names) == size:
            last = names[-1]  # even if it is gone: the next page begins behind it
        if gone := [name for name in gone if name != last]:
            self.redis.zrem(JOBS_KEY, *gone)
        return Page(jobs[:limit], last)

    def count_open(self) -> int:
        """How many jobs have not ended, or not been told as ended."""
        found: Any = self.redis.zcard(ACTIVE_KEY)
        return int(found)

    def open(self, limit: int) -> list[Job]:
        """At most `limit` jobs that have not ended; no tasks, whose callers ask for them.

        Those that `read` cannot read are left out.
        """
        names: Any = self.redis.zrange(ACTIVE_KEY, 0, -1)
        found = self._readable(self._rows(names))
        return [job for job in found if job.spec.question is None and not job.has_ended][:limit]

    def cancel(self, job_id: str) -> Job:
        """Start no chunk of the job any more, and count what is not being computed as cancelled.

        What workers compute now is still delivered: until then the status is `cancelling`. A job
        that has ended stays as it is. `JobNotFound`, `JobGone`.
        """
        self.read(job_id)
        self.run("CANCEL", job_id)
        return self.read(job_id)

    def fail(self, job_id: str, failure: Failure) -> None:
        """End the job as `failed`: what is pending fails with `failure`."""
        self.run("FAIL", job_id, "failed", msgspec.json.encode(failure))

    def check_memory(self, more_bytes: int) -> None:
        """`StorageFull` where `more_bytes` would not leave Redis what the rest needs.

        A Redis without `maxmemory`, or one that refuses INFO to us, is taken to have enough.
        """
        try:
            memory: Any = self.redis.info("memory")
        except redis.exceptions.NoPermissionError:
            return
        most = int(memory.get("maxmemory") or 0) * MAX_MEMORY_SHARE
        if most and memory["used_memory"] + more_bytes > most:
            raise StorageFull(more_bytes)

    def run(self, name: str, job_id: str, *args: Any, also: Sequence[str] = ()) -> Any:
        """Run one of `scripts` on a job; `also` are more keys."""
        script = self._scripts.get(name)
        if script is None:
            script = self.redis.register_script(prelude.PRELUDE + getattr(scripts, name))
            self._scripts[name] = script
        return script(keys=[*keys_of(job_id), *also], args=[job_id, repr(self.now()), *args])

    def _place_after(self, before: str | None) -> int:
        if before is None:
            return 0
        place: Any = self.redis.zrevrank(JOBS_KEY, before)
        if place is None:
            raise JobNotFound(before)
        return int(place) + 1

    def _listed(self, start: int, count: int) -> tuple[list[str], dict[str, dict[bytes, bytes]]]:
        """Ids of `count` jobs, the newest first, and what there is of each."""
        names: Any = self.redis.zrevrange(JOBS_KEY, start, start + count - 1)
        rows = self._rows(names)
        return list(rows), rows

    def _rows(self, names: Sequence[bytes]) -> dict[str, dict[bytes, bytes]]:
        ids = [name.decode() for name in names]
        with self.redis.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.hgetall(job_key(job_id))
            return dict(zip(ids, pipe.execute(), strict=True))

    def _readable(self, rows: dict[str, dict[bytes, bytes]]) -> list[Job]:
        """Those of the jobs that are there and can be read; others are told once each."""
        jobs, unread = [], {}
        for job_id, fields in rows.items():
            if b"spec" not in fields:
                continue
            try:
                jobs.append(_job(job_id, fields))
            except MessageRefused as error:
                unread[job_id] = str(error.__cause__)
        if new := unread.keys() - self._unread:
            self._unread |= new
            details = {"jobs": len(new), "cause": unread[min(new)]}
            logger.warning("jobs left out that cannot be read", extra=details)
        return jobs


class _memory:
    """Redis's own "out of memory" as `StorageFull`."""

    def __init__(self, more_bytes: int) -> None:
        self._more_bytes = more_bytes

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, redis.exceptions.OutOfMemoryError):
            raise StorageFull(self._more_bytes) from error


def _job(job_id: str, fields: dict[bytes, bytes]) -> Job:
    try:
        return _decoded(job_id, fields)
    except msgspec.MsgspecError as error:
        raise MessageRefused(str(error)) from error


def _decoded(job_id: str, fields: dict[bytes, bytes]) -> Job:
    def time(name: str) -> float | None:
        raw = fields.get(name.encode())
        return None if raw is None else float(raw)

    error = fields.get(b"error")
    return Job(
        id=job_id,
        spec=msgspec.json.decode(fields[b"spec"], type=JobSpec),
        status=msgspec.convert(fields[b"status"].decode(), Status),
        counts=Counts(**{name: int(fields[name.encode()]) for name in Counts.__struct_fields__}),
        created_at=time("created_at") or 0.0,
        expires_at=time("expires_at") or 0.0,
        submitted_at=time("submitted_at"),
        started_at=time("started_at"),
        cancelling_at=time("cancelling_at"),
        ended_at=time("ended_at"),
        error=None if error is None else msgspec.json.decode(error, type=Failure),
    )
