"""Shared. The chunks of jobs, as those see them who send and compute them.

Nothing here trusts a message to arrive, to arrive once, or its worker to live: a chunk is claimed
with a lease, the first commit counts, and `sweep` takes back what is overdue or whose holder is
gone. All methods raise redis errors where Redis cannot be reached.
"""

import uuid
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any, Literal

import msgspec

from app.contract import Failure
from app.errors import JobExpired, JobFailed, MessageRefused, TextGivenUp, TextHung
from app.jobs.blobs import BLOCK_TEXTS, decode_texts, failed
from app.jobs.keys import ACTIVE_KEY, PACE_PREFIX, job_key, part_key
from app.jobs.lease import Lease
from app.jobs.ledger import Ledger
from app.jobs.records import Claim, JobSpec, Status, Ticket
from app.settings import Models

MAX_ATTEMPTS = 3
# A chunk whose version has an unknown pace, and what near the end of a job none need be below.
FIRST_CHUNK_TEXTS = 64
MAX_CHUNK_TEXTS = 10_000
# Of so many texts in the order of their lengths, 1 % is padding that a whole job in that order
# would not have. To hold them, the chunk of a slow version takes up to so many times its target.
FULL_CHUNK_TEXTS = 256
MAX_STRETCH = 8
# A message that waits in a queue is sent again after so long, unless the queue is full.
RESEND_S = 40.0
# So long a holder that is no longer seen may still commit; and a message that is in no queue may
# be on its way.
GRACE_S = 3.0
# A version that all workers refused for so long fails the job, or for as long as so many loads of
# a version may take: a worker that has just been started may load others before it.
UNHELD_S = 30.0
UNHELD_LOADS = 2
# Refusals that come further apart do not add up: meanwhile no worker was there, or had time.
LATELY_S = 15.0

# What is known of that, as in `prelude`.
REFUSED = ("refused_at", "refused", "refused_by")

HUNG = "hung"
LOST_TEXT = failed(Failure(TextGivenUp.code, str(TextGivenUp())))
HUNG_TEXT = failed(Failure(TextHung.code, str(TextHung())))
EXPIRED = Failure(JobExpired.code, str(JobExpired()))
UNHELD = Failure(JobFailed.code, str(JobFailed("no worker can hold its model version")))

Swept = Status | Literal["gone"]


class Pinned(msgspec.Struct, frozen=True):
    """The part of a `JobSpec` that every version of mlserve can read."""

    ref: str


def patience_s(models: Models) -> float:
    """How long no worker may hold the version of a job before the job fails."""
    return max(UNHELD_S, UNHELD_LOADS * models.load_timeout_s)


class Chunks:
    """What workers do to the jobs of a ledger. Safe for several threads and processes.

    `unheld_s` is for `sweep`: see `patience_s`.
    """

    def __init__(self, ledger: Ledger, unheld_s: float = UNHELD_S) -> None:
        self.ledger, self._unheld_s = ledger, unheld_s
        self.lease = Lease(ledger.redis)

    def active(self) -> list[str]:
        """Ids of the jobs that somebody has to look after."""
        found: Any = self.ledger.redis.zrange(ACTIVE_KEY, 0, -1)
        return [name.decode() for name in found]

    def refs(self, job_ids: Iterable[str]) -> dict[str, str]:
        """The versions of those jobs that are there and tell it."""
        names = list(job_ids)
        with self.ledger.redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hget(job_key(name), "spec")
            specs = pipe.execute()
        refs = {name: _ref(spec) for name, spec in zip(names, specs, strict=True)}
        return {name: ref for name, ref in refs.items() if ref is not None}

    def settle(self, job_id: str) -> None:
        """Nobody has to look after this job any more."""
        self.ledger.redis.zrem(ACTIVE_KEY, job_id)

    def feed(self, job_id: str, spec: JobSpec) -> list[Ticket]:
        """Chunks that are to be sent now, so that `jobs.max_queued_chunks` are on their way."""
        limits = self.ledger.limits
        found = self.ledger.run(
            "FEED",
            job_id,
            limits.target_chunk_seconds,
            limits.max_queued_chunks,
            RESEND_S,
            FIRST_CHUNK_TEXTS,
            MAX_CHUNK_TEXTS,
            FULL_CHUNK_TEXTS,
            MAX_STRETCH,
            also=[PACE_PREFIX + spec.digest],
        )
        return [Ticket(job_id, first, spec.queue) for first in found]

    def claim(
        self, job_id: str, first: int, holder: str, lease_s: float, token: str | None = None
    ) -> Claim | None:
        """Take the chunk that starts with text `first` for `lease_s` seconds.

        None where there is nothing to do: it is done or being computed, or its job has ended.
        Whoever got no answer asks again with the same `token`, and gets the same chunk.
        `MessageRefused` where another version of mlserve wrote the job: then it is given back.
        """
        token = token or uuid.uuid4().hex
        found = self.ledger.run("CLAIM", job_id, first, holder, lease_s, token)
        if found is None:
            return None
        count, attempt, raw = found
        try:
            spec = msgspec.json.decode(raw, type=JobSpec)
        except msgspec.MsgspecError as error:
            self._release(job_id, first, holder, 0.0, str(error))
            raise MessageRefused(str(error)) from error
        return Claim(job_id, first, count, attempt, spec)

    def texts(self, claim: Claim) -> list[str]:
        """The texts of a chunk, for whom holds its version; fewer where the job has ended."""
        last = claim.first + claim.count - 1
        blocks = range(claim.first // BLOCK_TEXTS, last // BLOCK_TEXTS + 1)
        key = part_key(claim.job_id, "texts")
        with self.ledger.redis.pipeline(transaction=False) as pipe:
            pipe.hmget(key, [str(block) for block in blocks])
            pipe.hdel(job_key(claim.job_id), *REFUSED)
            found, _ = pipe.execute()
        texts = [text for blob in found if blob is not None for text in decode_texts(blob)]
        start = claim.first - blocks.start * BLOCK_TEXTS
        return texts[start : start + claim.count]

    def mark(self, claim: Claim, holder: str, index: int, lease_s: float) -> bool:
        """Say that text number `index` is computed now, and renew the lease.

        Whether the chunk is still the holder's.
        """
        return bool(self.ledger.run("MARK", claim.job_id, claim.first, holder, lease_s, index))

    def shorten(self, claim: Claim, holder: str, count: int) -> Claim | None:
        """Keep the first `count` texts of a chunk, at least one; the others are sent again.

        None where the chunk is no longer the holder's. May be asked again.
        """
        if not self.ledger.run("SHORTEN", claim.job_id, claim.first, holder, count):
            return None
        return msgspec.structs.replace(claim, count=count)

    def release(self, claim: Claim, holder: str, retry_s: float, why: str) -> None:
        """Give a chunk back that this holder cannot compute; not counted as an attempt.

        Where that is all that happens for `patience_s`, the job fails.
        """
        self._release(claim.job_id, claim.first, holder, retry_s, why)

    def commit(
        self,
        claim: Claim,
        blob: bytes,
        *,
        succeeded: int,
        failed: int,
        texts_per_s: float | None = None,
    ) -> Status | None:
        """Store the results of a chunk: the status of the job after it.

        None where they came too late and changed nothing: somebody else was first, the chunk was
        cut, or the job has ended. `texts_per_s` is what the holder reached, for later chunks.
        """
        status: bytes = self.ledger.run(
            "COMMIT",
            claim.job_id,
            claim.first,
            claim.count,
            blob,
            succeeded,
            failed,
            "" if texts_per_s is None else texts_per_s,
            also=[PACE_PREFIX + claim.spec.digest],
        )
        return None if status == b"late" else msgspec.convert(status.decode(), Status)

    def give_up(self, claim: Claim, holder: str, why: str = "") -> None:
        """Say that this attempt failed, and why: the chunk is overdue at once."""
        self.ledger.run("GIVE_UP", claim.job_id, claim.first, holder, why)

    def sweep(
        self,
        job_id: str,
        live: Collection[str],
        is_queue_empty: bool,
        holders: Collection[str] = (),
        is_queue_full: bool = False,
    ) -> Swept:
        """Take back what is overdue or held by none of `live`; the status of the job after it.

        A chunk that was begun and lost is tried again; then text by text, and cut around the text
        that was computed last, which fails after `MAX_ATTEMPTS` attempts alone. `holders` are
        those of `live` that say they hold the version. A queue is full where it has as many
        messages as all open jobs may have there: then none of them need have been lost.
        """
        found: bytes = self.ledger.run(
            "SWEEP",
            job_id,
            msgspec.json.encode(sorted(live)),
            int(is_queue_empty),
            GRACE_S,
            self._unheld_s,
            MAX_ATTEMPTS,
            LOST_TEXT,
            HUNG_TEXT,
            msgspec.json.encode(UNHELD),
            msgspec.json.encode(EXPIRED),
            msgspec.json.encode(sorted(holders)),
            LATELY_S,
            int(is_queue_full),
            RESEND_S,
        )
        swept: Swept = msgspec.convert(found.decode(), Swept)
        return swept

    def _release(self, job_id: str, first: int, holder: str, retry_s: float, why: str) -> None:
        self.ledger.run("RELEASE", job_id, first, holder, retry_s, why, LATELY_S)


def _ref(spec: bytes | None) -> str | None:
    if spec is None:
        return None
    with suppress(msgspec.MsgspecError):
        return msgspec.json.decode(spec, type=Pinned).ref
    return None
