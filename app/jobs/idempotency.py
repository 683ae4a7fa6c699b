"""Shared. `Idempotency-Key`: a job that is submitted twice under one key is one job.

A key is taken before anything of the body is read, renewed while it comes, and bound to the job and
the body's fingerprint just before the job is accepted. So whoever dies at any moment leaves either
no job and a key that is soon free, or a job that the key leads to.
"""

import hashlib
import time
import uuid
from types import TracebackType
from typing import Any, Self

import msgspec
import redis

from app.errors import SubmissionInProgress, SubmissionLost
from app.jobs.keys import IDEMPOTENCY_PREFIX, job_key

# A key whose submission shows no progress is free again after so long.
TAKEN_TTL_S = 60
RENEW_S = 10.0

REPLACE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""
# Whoever got no answer does not know whether the job was accepted.
RELEASE = """
if KEYS[2] and redis.call('EXISTS', KEYS[2]) == 1 then return end
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""


class Use(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a key was used for: a job and the fingerprint of its body; `answer` is what was told.

    Without a job it is merely taken by somebody.
    """

    token: str
    job_id: str | None = None
    fingerprint: str | None = None
    answer: dict[str, Any] | None = None


class Key:
    """One key, as one submission sees it. As a context manager it is given back after an error.

    `used` is None where this submission has taken the key, else what it was used for before.
    """

    def __init__(self, client: "redis.Redis", name: str, ttl_s: int) -> None:
        # Keys are the callers': of any length and content.
        self._key = IDEMPOTENCY_PREFIX + hashlib.sha256(name.encode()).hexdigest()
        self._redis, self._ttl_s = client, ttl_s
        self._raw = msgspec.json.encode(Use(token=uuid.uuid4().hex))
        self._renewed_at = 0.0
        self.used: Use | None = None

    def take(self) -> Self:
        """Take the key, or learn what it was used for; `SubmissionInProgress`."""
        if self._redis.set(self._key, self._raw, nx=True, ex=TAKEN_TTL_S):
            self._renewed_at = time.monotonic()
            return self
        found: Any = self._redis.get(self._key)
        if found is None:
            raise SubmissionInProgress()  # given back this very moment
        self.used = msgspec.json.decode(found, type=Use)
        if self.used.job_id is None:
            raise SubmissionInProgress()
        self._raw = found
        return self

    def renew(self) -> None:
        """The submission goes on; cheap enough to be called for each text."""
        if time.monotonic() - self._renewed_at >= RENEW_S:
            self._replace(self._raw, TAKEN_TTL_S)
            self._renewed_at = time.monotonic()

    def bind(self, job_id: str, fingerprint: str) -> None:
        """The job is about to be accepted; `SubmissionLost` where another one has the key now."""
        use = msgspec.json.decode(self._raw, type=Use)
        bound = msgspec.structs.replace(use, job_id=job_id, fingerprint=fingerprint)
        self._replace(msgspec.json.encode(bound), self._ttl_s)

    def answered(self, answer: dict[str, Any]) -> None:
        """The job was accepted, and this is what the caller is told, now and again."""
        use = msgspec.json.decode(self._raw, type=Use)
        told = msgspec.structs.replace(use, answer=answer)
        self._replace(msgspec.json.encode(told), self._ttl_s)

    def release(self) -> None:
        """Nothing came of it: the key is free, unless its job is there after all."""
        job_id = msgspec.json.decode(self._raw, type=Use).job_id
        keys = [self._key] if job_id is None else [self._key, job_key(job_id)]
        self._redis.eval(RELEASE, len(keys), *keys, self._raw)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.release()

    def _replace(self, raw: bytes, ttl_s: int) -> None:
        if not self._redis.eval(REPLACE, 1, self._key, self._raw, raw, ttl_s):
            raise SubmissionLost()
        self._raw = raw
