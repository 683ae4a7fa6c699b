"""Shared. The webhooks that are to be posted, in Redis: the death of a worker loses none.

What is posted is fixed when it is put here, so that every attempt sends the same bytes. One worker
at a time has it, for as long as its lease; then it is due again. All methods raise redis errors.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import redis

from app.jobs.keys import WEBHOOK_PREFIX, WEBHOOKS_KEY

# Above what one attempt can take.
LEASE_S = 120.0
# 5 s, 15 s, 45 s, ... then every hour: more than five hours in all.
FIRST_PAUSE_S = 5.0
PAUSE_FACTOR = 3.0
MAX_PAUSE_S = 3600.0
MAX_ATTEMPTS = 12
# One that no worker comes to for so long is dropped.
KEPT_S = 7 * 86_400
# So long it is remembered that it was posted: the end of a job may be told more than once.
DONE_S = 86_400


class Delivery(msgspec.Struct, frozen=True):
    """One attempt to post `body` to `url`; `attempt` counts from 1."""

    job_id: str
    url: str
    body: bytes
    attempt: int

    @property
    def is_last(self) -> bool:
        """Whether it is not tried again."""
        return self.attempt >= MAX_ATTEMPTS

    @property
    def pause_s(self) -> float:
        """How long to wait after this attempt."""
        return min(MAX_PAUSE_S, FIRST_PAUSE_S * PAUSE_FACTOR ** (self.attempt - 1))


class Outbox:
    """The webhooks in one Redis; `now` is in Redis server seconds. Safe for several threads."""

    def __init__(self, client: "redis.Redis", now: Callable[[], float]) -> None:
        self._redis, self._now = client, now
        scripts = (_PUT, _TAKE, _CLOSE, _DELAY)
        self._put, self._take, self._close, self._delay = map(client.register_script, scripts)

    def put(self, job_id: str, url: str, body: bytes) -> bool:
        """Have it posted; False where it was put here before, even if it is posted by now."""
        keys = [WEBHOOKS_KEY, WEBHOOK_PREFIX + job_id]
        return bool(self._put(keys=keys, args=[job_id, self._stamp(), url, body, KEPT_S]))

    def take(self) -> Delivery | None:
        """The one that has been due for longest, for this caller alone while its lease lasts."""
        found: Any = self._take(keys=[WEBHOOKS_KEY], args=[self._stamp(), LEASE_S, WEBHOOK_PREFIX])
        if not found:
            return None
        job_id, url, body, attempt = found
        return Delivery(job_id.decode(), url.decode(), body, attempt)

    def close(self, delivery: Delivery) -> bool:
        """It was posted, or is given up; False where another attempt has begun meanwhile."""
        return self._settle(self._close, delivery, DONE_S)

    def delay(self, delivery: Delivery) -> bool:
        """It is to be tried again after a pause; False where another attempt has begun."""
        return self._settle(self._delay, delivery, self._now() + delivery.pause_s)

    def _settle(self, script: Any, delivery: Delivery, value: float) -> bool:
        keys = [WEBHOOKS_KEY, WEBHOOK_PREFIX + delivery.job_id]
        return bool(script(keys=keys, args=[delivery.job_id, delivery.attempt, repr(value)]))

    def _stamp(self) -> str:
        return repr(self._now())


# job id, now, URL, body, seconds to live
_PUT = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('HSET', KEYS[2], 'url', ARGV[3], 'body', ARGV[4], 'attempt', 0)
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
"""

# now, seconds of lease, prefix of the rows
_TAKE = """
while true do
  local id = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 1)[1]
  if not id then return false end
  local row = ARGV[3] .. id
  local url, body = unpack(redis.call('HMGET', row, 'url', 'body'))
  if url then
    redis.call('ZADD', KEYS[1], ARGV[1] + ARGV[2], id)
    return {id, url, body, redis.call('HINCRBY', row, 'attempt', 1)}
  end
  redis.call('ZREM', KEYS[1], id)
end
"""

# job id, attempt, seconds for which it is remembered
_CLOSE = """
if redis.call('HGET', KEYS[2], 'attempt') ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[2], 'url', 'body')
redis.call('EXPIRE', KEYS[2], math.floor(ARGV[3]))
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
"""

# job id, attempt, when it is due
_DELAY = """
if redis.call('HGET', KEYS[2], 'attempt') ~= ARGV[2] then return 0 end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
return 1
"""
