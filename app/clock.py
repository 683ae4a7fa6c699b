"""Shared. The Redis server's clock: the one time that all processes of a fleet agree on.

Deadlines travel in this time, so that a machine whose clock is wrong neither drops good work nor
computes for callers who have left.
"""

import time

import redis

from app.errors import BrokerUnavailable


class RedisClock:
    """Redis time between two readings, kept by this process's monotonic clock."""

    def __init__(self) -> None:
        self._offset_s: float | None = None

    def sync(self, client: "redis.Redis") -> None:
        """Read the server's clock once; half of the round trip is taken as the way back."""
        before = time.monotonic()
        seconds, microseconds = client.time()
        after = time.monotonic()
        self._offset_s = seconds + microseconds / 1e6 - (before + after) / 2

    def now(self) -> float:
        """Seconds since the epoch by the Redis server; `BrokerUnavailable` before a first sync."""
        if self._offset_s is None:
            raise BrokerUnavailable()
        return time.monotonic() + self._offset_s
