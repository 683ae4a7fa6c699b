"""API process. Where texts go, those that are held on the way, and the chunks that left."""

import math
from collections.abc import Callable
from typing import NamedTuple

from app.contract import Chunk, ChunkResult
from app.inference.drain import Drain, Line
from app.inference.held import Held
from app.inference.slots import Slot
from app.inference.window import ChunkSize, Window

# A spare chunk is sent while every worker has one, so that none need wait for its next. One that
# takes less costs both sides more than that wait; where texts cost more than others it leaves so
# long before a worker should be done: until then shorter texts may come that pass the others.
MIN_SPARE_S = 0.010
LEAD_S = 0.010


class Route(NamedTuple):
    """Where a text goes: one version, on the queue of one kind of device."""

    ref: str
    device: str


class Flight(NamedTuple):
    """A chunk on its way: its slots in the order of its texts.

    `is_cut` where it left others behind because of what they cost, with no other worker free;
    `lands_at` is when it should be back, `cost` what it cost when it left.
    """

    route: Route
    slots: list[Slot]
    sent_at: float
    deadline: float
    is_cut: bool = False
    lands_at: float = 0.0
    cost: float = 0.0

    def chunk(self) -> Chunk:
        """The message; it is worth computing until the last caller has left."""
        ids = {ask.request_id for slot in self.slots for ask in slot.asks}
        # Texts of one cost are computed together: there is no order to choose.
        is_even = all(slot.cost == 1.0 for slot in self.slots)
        return Chunk(
            ref=self.route.ref,
            texts=[slot.asks[0].text for slot in self.slots],
            deadline=self.deadline,
            request_ids=sorted(ids),
            deadlines=[] if is_even else [slot.deadline for slot in self.slots],
        )


class Lane:
    """The texts of one route that are held, and the chunks of it in flight.

    `workers` is the number of those that could take a chunk, when somebody last looked.
    """

    __slots__ = (
        "_away",
        "_held",
        "_landings",
        "drain",
        "size",
        "window",
        "workers",
    )

    def __init__(self) -> None:
        self._held = Held()
        self._landings: list[float] = []
        # What is in flight costs.
        self._away = 0.0
        self.workers = 0
        self.drain = Drain()
        self.size = ChunkSize()
        self.window = Window()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def oldest_at(self) -> float:
        """Since when the oldest text is held, in monotonic seconds; there must be one."""
        return self._held.oldest.held_at

    @property
    def in_flight(self) -> int:
        """Chunks on their way."""
        return len(self._landings)

    @property
    def is_used(self) -> bool:
        """Whether a text waits, held or in flight."""
        return bool(self._held or self._landings)

    def hold(self, slot: Slot) -> None:
        """Keep a text until `take`."""
        self._held.add(slot)

    def hold_again(self, slot: Slot) -> None:
        """Keep a text that came before all others."""
        self._held.add_first(slot)

    def discard(self, slot: Slot) -> bool:
        """Keep a text no longer; whether it was held."""
        return self._held.discard(slot)

    def leaves_at(self, max_hold_s: float) -> float:
        """When the next chunk may leave, in monotonic seconds.

        At once while the window is open and a worker has nothing to do; as a spare one if it is
        worth it; else when the oldest text was held for `max_hold_s`. Texts that cost more than
        others stay until a worker should be done, where none is spare. Infinite where only a chunk
        that lands can change it.
        """
        if not self._held:
            return math.inf
        idle_workers = max(1, self.workers) - self.in_flight
        if not self._held.is_even and idle_workers <= 0:
            return math.inf if idle_workers else min(self._landings) - LEAD_S
        is_open = self.in_flight < self.window.size
        if is_open and (idle_workers > 0 or self._is_worth_a_wait()):
            return -math.inf
        return self._held.oldest.held_at + max_hold_s

    def departed(self, cost: float, moment: float) -> float:
        """A chunk left at `moment`; returns when it should land, in monotonic seconds."""
        is_first = self.in_flight < max(1, self.workers)
        starts_at = moment if is_first else max(moment, min(self._landings))
        lands_at = starts_at + self.size.unit_s * cost
        self._landings.append(lands_at)
        self._away += cost
        return lands_at

    def soonest_s(self, cost: float, moment: float) -> float:
        """In how many seconds a chunk could be back at the earliest, where workers are behind.

        0.0 where they keep up, or nobody else is held.
        """
        is_behind = len(self) > 0 and self.drain.is_behind(moment)
        return self.size.least_unit_s * cost if is_behind else 0.0

    def landed(self, flight: Flight) -> None:
        """A chunk is back without an answer of a worker."""
        self._back(flight)
        if not self._held:
            self.drain.rest()

    def answered(self, flight: Flight, result: ChunkResult, moment: float) -> None:
        """A chunk came back with its outcomes, at `moment`, in monotonic seconds: learn from it."""
        self._back(flight)
        has_backlog = len(self) > 0
        computed_s = result.preprocess_s + result.inference_s
        self.window.landed(moment - flight.sent_at, computed_s, has_backlog, self.workers)
        pairs = zip(flight.slots, result.outcomes, strict=True)
        # What came too late to be computed cost the worker nothing.
        if cost := sum(slot.cost for slot, outcome in pairs if not outcome.is_expired):
            self.size.landed(cost, computed_s)
            self.drain.landed(cost, computed_s, moment, is_busy=has_backlog)

    def line(self, more: float, moment: float) -> Line:
        """What is in front of texts that cost `more`, at `moment`, in monotonic seconds."""
        return self.drain.line(self._held.cost + self._away, more, moment)

    def take(self, max_texts: int, is_pressed: Callable[[Slot], bool]) -> list[Slot]:
        """The texts of the next chunk, one at least; as `Held.take`."""
        idle_workers = self.workers - self.in_flight
        most = self.size.max_cost(self._held.cost, self.workers, idle_workers)
        return self._held.take(max_texts, most, self.size.unit_s, is_pressed)

    def _back(self, flight: Flight) -> None:
        self._landings.remove(flight.lands_at)
        self._away = self._away - flight.cost if self._landings else 0.0

    def _is_worth_a_wait(self) -> bool:
        unit_s = self.size.unit_s
        return not unit_s or self._held.cost * unit_s >= MIN_SPARE_S
