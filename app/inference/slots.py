"""API process. A text on its way to a worker, and the requests that wait for its outcome."""

from typing import Protocol

import msgspec

from app.contract import EXPIRED, Outcome
from app.errors import ServingError
from app.inference.timing import Trip


class Signal(Protocol):
    """What a request waits for."""

    def set(self) -> None:
        """End the wait; from any thread."""
        ...


class Waiting:
    """The outcomes of one request's texts as they come in.

    `fill` and `fail` are called under the coalescer's lock, so that they need none of their own.
    Waking who waits for `done` is slow and needs no lock: after `fill` it is a call of its own.
    Errors and texts that came too late are few: they wake under the lock. `trip` is that of the
    last chunk with outcomes for it; None where none was computed.
    """

    __slots__ = ("_done", "_error", "_missing", "_outcomes", "trip")

    def __init__(self, count: int, done: Signal) -> None:
        self._outcomes: list[Outcome | None] = [None] * count
        self._missing = count
        self._error: ServingError | None = None
        self._done = done
        self.trip: Trip | None = None

    def fill(self, index: int, outcome: Outcome, trip: Trip | None = None) -> bool:
        """Set the outcome of one text; whether it was the last one, so that `wake` is due."""
        if self._outcomes[index] is not None:
            return False
        self._outcomes[index] = outcome
        self._missing -= 1
        self.trip = trip or self.trip
        return self._missing == 0 and self._error is None

    def wake(self) -> None:
        """Tell the one who waits that `result` is complete."""
        self._done.set()

    def fail(self, error: ServingError) -> None:
        """End the wait with an error; the first one counts."""
        if self._missing and self._error is None:
            self._error = error
            self.wake()

    def result(self) -> list[Outcome]:
        """All outcomes in the order of the texts; the error of `fail`, `TimeoutError` too early."""
        if self._error is not None:
            # A copy: the same error is raised for many requests, each adding its traceback.
            raise type(self._error)(*self._error.args)
        if self._missing:
            raise TimeoutError
        return [outcome for outcome in self._outcomes if outcome is not None]


class Ask(msgspec.Struct, frozen=True):
    """One text of one request: where its outcome goes, and until when it is wanted.

    `key` is the same for texts that have the same answer; `place` is the text's index in its
    request; `deadline` is in Redis server seconds; `cost` is that of `app.inference.costs`.
    """

    key: bytes
    text: str
    waiting: Waiting
    place: int
    deadline: float
    request_id: str
    cost: float = 1.0


class Slot:
    """A text that is computed once, for all who ask for it meanwhile.

    They have its `key` in common; `cost` is what it costs a worker. `is_held` while it is among
    those that are held.
    """

    __slots__ = ("asks", "cost", "held_at", "is_held", "key")

    def __init__(self, ask: Ask, held_at: float) -> None:
        self.asks = [ask]
        self.key = ask.key
        self.cost = ask.cost
        self.held_at = held_at
        self.is_held = False

    @property
    def deadline(self) -> float:
        """Until when at least one caller waits."""
        asks = self.asks
        # Nearly every text has one caller.
        return asks[0].deadline if len(asks) == 1 else max(ask.deadline for ask in asks)

    def is_half_over(self, now: float, moment: float) -> bool:
        """Whether it was held for as long as is left of its time.

        `now` is of the clock of deadlines, `moment` in monotonic seconds.
        """
        return moment - self.held_at >= self.deadline - now

    def leave(self, waiting: Waiting) -> bool:
        """A caller waits no more; whether somebody else does."""
        others = [ask for ask in self.asks if ask.waiting is not waiting]
        if others:
            self.asks = others
        return bool(others)

    def fill(self, outcome: Outcome, trip: Trip | None = None) -> list[Waiting]:
        """Give the outcome to every caller; those that have all of theirs now are to be woken."""
        return [ask.waiting for ask in self.asks if ask.waiting.fill(ask.place, outcome, trip)]

    def fail(self, error: ServingError) -> None:
        """Give the error to every caller."""
        for ask in self.asks:
            ask.waiting.fail(error)

    def dismiss_late(self, now: float, soonest: float) -> bool:
        """Answer callers whose deadline has passed; whether the slot is still wanted.

        Not wanted either where all their deadlines will have passed at `soonest`.
        """
        # Nearly every text has one caller, who has time left.
        if len(self.asks) == 1 and self.asks[0].deadline > soonest:
            return True
        last = now if self.deadline > soonest else soonest
        late = [ask for ask in self.asks if ask.deadline <= last]
        if not late:
            return True
        for ask in late:
            if ask.waiting.fill(ask.place, EXPIRED):
                ask.waiting.wake()
        if len(late) == len(self.asks):
            return False
        self.asks = [ask for ask in self.asks if ask.deadline > last]
        return True
