"""API process. A text on its way to a worker, and the requests that wait for its outcome."""

import threading
from typing import NamedTuple

from app.contract import EXPIRED, Outcome
from app.errors import ServingError


class Waiting:
    """The outcomes of one request's texts as they come in, and the thread that waits for them.

    `fill` and `fail` are called under the coalescer's lock, so that they need none of their own.
    """

    __slots__ = ("_done", "_error", "_missing", "_outcomes")

    def __init__(self, count: int) -> None:
        self._outcomes: list[Outcome | None] = [None] * count
        self._missing = count
        self._error: ServingError | None = None
        # A bare lock is a one-shot event at a tenth of the price of `threading.Event`.
        self._done = threading.Lock()
        self._done.acquire()

    def fill(self, index: int, outcome: Outcome) -> None:
        """Set the outcome of one text; the last one wakes the waiting thread."""
        if self._outcomes[index] is not None:
            return
        self._outcomes[index] = outcome
        self._missing -= 1
        if self._missing == 0 and self._error is None:
            self._done.release()

    def fail(self, error: ServingError) -> None:
        """Wake the waiting thread with an error; the first one counts."""
        if self._missing and self._error is None:
            self._error = error
            self._done.release()

    def wait(self, timeout_s: float) -> list[Outcome]:
        """All outcomes in the order of the texts; `TimeoutError`, or the error of `fail`."""
        if not self._done.acquire(timeout=max(0.0, timeout_s)):
            raise TimeoutError
        if self._error is not None:
            # A copy: the same error is raised in many threads, each adding its traceback.
            raise type(self._error)(*self._error.args)
        return [outcome for outcome in self._outcomes if outcome is not None]


class Ask(NamedTuple):
    """One text of one request: where its outcome goes, and until when it is wanted.

    `key` is the same for texts that have the same answer; `place` is the text's index in its
    request; `deadline` is in Redis server seconds.
    """

    key: bytes
    text: str
    waiting: Waiting
    place: int
    deadline: float
    request_id: str


class Slot:
    """A text that is computed once, for all who ask for it meanwhile."""

    __slots__ = ("asks", "held_at")

    def __init__(self, ask: Ask, held_at: float) -> None:
        self.asks = [ask]
        self.held_at = held_at

    @property
    def key(self) -> bytes:
        """What all asks of this slot have in common."""
        return self.asks[0].key

    @property
    def deadline(self) -> float:
        """Until when at least one caller waits."""
        return max(ask.deadline for ask in self.asks)

    def fill(self, outcome: Outcome) -> None:
        """Give the outcome to every caller."""
        for ask in self.asks:
            ask.waiting.fill(ask.place, outcome)

    def fail(self, error: ServingError) -> None:
        """Give the error to every caller."""
        for ask in self.asks:
            ask.waiting.fail(error)

    def dismiss_late(self, now: float) -> bool:
        """Answer callers whose deadline has passed; whether the slot is still wanted."""
        late = [ask for ask in self.asks if ask.deadline <= now]
        for ask in late:
            ask.waiting.fill(ask.place, EXPIRED)
        if len(late) == len(self.asks):
            return False
        self.asks = [ask for ask in self.asks if ask.deadline > now]
        return True
