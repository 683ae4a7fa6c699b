"""Worker process. How long a chunk of a job waits for a Redis that is away."""

import time
from collections.abc import Callable
from typing import TypeVar

import redis
from kombu.utils.functional import retry_over_time

from app.errors import BrokerUnavailable

FIRST_PAUSE_S, MORE_PAUSE_S, MAX_PAUSE_S = 0.1, 0.2, 1.0
# Of all that is left, one pause is such a share at most.
PAUSE_SHARE = 0.25
# To kombu, no time at all is all the time there is.
NO_TIME_S = 1e-3

T = TypeVar("T")


class Retries:
    """Makes the steps of one chunk; `left_s` is for all of them together.

    The last try may end later than that, by the time-outs of a client.
    """

    def __init__(self, left_s: float) -> None:
        self._left_s = left_s

    def make(self, step: Callable[[], T]) -> T:
        """What `step` returns; a Redis that is away for some seconds costs time, not the work.

        `BrokerUnavailable` where that is longer than what is left.
        """
        began, left_s = time.monotonic(), max(NO_TIME_S, self._left_s)
        try:
            result: T = retry_over_time(
                step,
                (redis.ConnectionError, redis.TimeoutError),
                interval_start=min(FIRST_PAUSE_S, PAUSE_SHARE * left_s),
                interval_step=MORE_PAUSE_S,
                interval_max=min(MAX_PAUSE_S, PAUSE_SHARE * left_s),
                timeout=left_s,
            )
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise BrokerUnavailable() from error
        finally:
            self._left_s -= time.monotonic() - began
        return result
