"""API process. Refuses before it reads, while this process is behind with what it was sent.

Who is refused has been read and looked at: what is remembered needs no worker. That costs half of
what an answer does. Where so much comes that the process cannot keep up, all would wait for it:
answers, refusals, and whoever asks whether the process is alive.
"""

import asyncio
from math import inf

from app.inference.alarm import Wakeups
from app.inference.service import Predictions

# A process is behind when a request waits so long for its turn on the event loop.
MAX_LAG_S = 0.01
# Who is refused here tells nothing of the lag: after so long one is let in that does.
MAX_AGE_S = 0.05
# Digits of the length of a body that the server takes from the connection even if nobody reads it.
# The sender of a larger one, who reads when all is sent, might see a reset connection.
MAX_UNREAD_DIGITS = 5
# So many are refused in one turn of the event loop, beside twice as many answers. Those who hear no
# at once ask again at once, and would take the process from those it can answer.
MAX_AT_ONCE = 32


class Door:
    """For requests of one event loop, each of which waits `max_wait_s` at most."""

    def __init__(self, predictions: Predictions, max_wait_s: float) -> None:
        self._predictions = predictions
        self._max_wait_s = max_wait_s
        self._inside = 0
        self._lag_s = 0.0
        self._seen_at = -inf
        self._refusals: Wakeups | None = None

    def enter(self, now: float, length: bytes | None) -> None:
        """Raise `Overloaded` where it would be refused anyway and there is no time to look at it.

        `now` is in seconds of any clock; `length` is that of the body as its header says, if any.
        """
        is_behind = self._lag_s > MAX_LAG_S and now - self._seen_at < MAX_AGE_S
        if is_behind and length and len(length) <= MAX_UNREAD_DIGITS:
            # Those who are being read are not counted yet, and came first.
            self._check()
        self._inside += 1

    def _check(self) -> None:
        admission, line = self._predictions.admission, self._predictions.shortest_line()
        admission.check(self._inside + 1, self._max_wait_s, line)

    def leave(self, entered_at: float, now: float) -> None:
        """It is being read, or gone: `enter` let it in at `entered_at`."""
        self._inside -= 1
        self._lag_s, self._seen_at = now - entered_at, now

    async def wait(self) -> None:
        """Wait for its turn to be refused, after `enter` did not let it in."""
        loop = asyncio.get_running_loop()
        if self._refusals is None or self._refusals.loop is not loop:
            self._refusals = Wakeups(loop, MAX_AT_ONCE)
        turn = loop.create_future()
        self._refusals.put(turn)
        await turn
