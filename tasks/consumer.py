"""Worker process. Celery's consumer: sooner ready, and sooner back after a lost Redis.

Celery waits 2, 4, 6 ... 30 s between attempts to connect, and no setting changes that: after a long
outage a worker would stay away for half a minute from a Redis that is back.
"""

import time
from functools import partial
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.consumer import consumer

INTERVALS_S = {"interval_start": 0.2, "interval_step": 0.3, "interval_max": 1.0}
# A Redis that lets us connect and then takes no writes (a replica, a full one) is no lost one:
# Celery would begin anew at once, and log a traceback for every fifth time.
AGAIN_AFTER_S = 1.0

# Workers have nothing to tell each other: what they hold is in their heartbeats. The search for
# neighbours would hold up every start by a second, and gossip fails loudly on each reconnect.
ALONE = {"without_mingle": True, "without_gossip": True}


def _size(message: Any, body: Any) -> str:
    return f"{len(message.body)} bytes"


# Celery logs the first 1024 characters of a message that it cannot read or has no task for: texts.
consumer.dump_body = _size


class Consumer(CeleryConsumer):
    """Tries to connect after 0.2, 0.5, 0.8 and then every 1.0 seconds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | ALONE)
        self._tried_at = float("-inf")

    def connect(self) -> Any:
        """The connection that tasks come over; no sooner than a second after the last one."""
        time.sleep(max(0.0, self._tried_at + AGAIN_AFTER_S - time.monotonic()))
        try:
            return super().connect()
        finally:
            self._tried_at = time.monotonic()

    def ensure_connected(self, conn: Any) -> Any:
        """Wait for Redis, and return the open connection."""
        conn.ensure_connection = partial(conn.ensure_connection, **INTERVALS_S)
        return super().ensure_connected(conn)
