"""Shared. The Redis server's clock: the one time that all processes of a fleet agree on.

Deadlines travel in this time, so that a machine whose clock is wrong neither drops good work nor
computes for callers who have left.
"""

import time

import redis

from app.errors import BrokerUnavailable

# Where the server or this process stands still in between, a reading is wrong by half of that. So a
# clock that was read lately is believed rather than one that was read slowly.
MAX_ROUND_TRIP_S = 0.1
MAX_AGE_S = 60.0


class RedisClock:
    """Redis time between two readings, kept by this process's monotonic clock."""

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._read_at = float("-inf")

    def sync(self, client: "redis.Redis") -> None:
        """Read the server's clock once; half of the round trip is taken as the way back.

        Where the round trip took long, what is known is kept for a while.
        """
        before = time.monotonic()
        seconds, microseconds = client.time()
        after = time.monotonic()
        if after - before <= MAX_ROUND_TRIP_S or after - self._read_at > MAX_AGE_S:
            self._offset_s = seconds + microseconds / 1e6 - (before + after) / 2
            self._read_at = after

    def now(self) -> float:
        """Seconds since the epoch by the Redis server; `BrokerUnavailable` before a first sync."""
        if self._offset_s is None:
            raise BrokerUnavailable()
        return time.monotonic() + self._offset_s
