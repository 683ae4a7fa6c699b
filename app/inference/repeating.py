"""API process. What a thread does again and again, whatever fails meanwhile."""

import logging
import threading
from collections.abc import Callable

import redis

from app.logs import request_scope

logger = logging.getLogger(__name__)

RETRY_S = 0.2


def repeat(
    step: Callable[[], float | None],
    every_s: float,
    wake: threading.Event,
    closed: threading.Event,
) -> None:
    """Call `step` every `every_s` seconds, and when `wake` is set, until `closed` is.

    It may return another number of seconds until the next time. Where it fails it is called again
    soon; while it does, each kind of failure is logged once.
    """
    told: set[type[Exception]] = set()
    while not closed.is_set():
        try:
            asked_s = step()
            pause_s = every_s if asked_s is None else asked_s
            told.clear()
        except Exception as error:  # noqa: BLE001 - a thread that ends would strand its callers
            if type(error) not in told:
                _tell(error)
            told.add(type(error))
            pause_s = RETRY_S
        if pause_s and wake.wait(pause_s) and not closed.is_set():
            wake.clear()


def _tell(error: Exception) -> None:
    if isinstance(error, redis.RedisError | OSError):
        logger.warning("waiting for Redis", extra={"cause": repr(error)})
        return
    # In a scope only its kind and place are told: its words may be a user's.
    with request_scope():
        logger.error("step failed", exc_info=error)
