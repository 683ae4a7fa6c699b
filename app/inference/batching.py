"""API process. Turns concurrent texts into chunks, without waiting for company.

A chunk leaves at once while fewer than a window of chunks of its lane are in flight; what arrives
meanwhile forms the next one. So a lone text never waits, and a busy lane fills its chunks. Equal
texts share one slot. Invariant: every caller gets exactly one outcome or error, also on `close`.
"""

import logging
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple

from app.contract import Chunk, ChunkResult, Outcome
from app.errors import ServingError, ShuttingDown
from app.inference.drain import NO_LINE, Line
from app.inference.lanes import Flight, Lane, Route
from app.inference.slots import Ask, Slot, Waiting
from app.inference.timing import Trip

logger = logging.getLogger(__name__)

Submit = Callable[[Chunk, str], Future[ChunkResult]]
Known = Callable[["Flight"], dict[bytes, Outcome]]
OnLanded = Callable[[list[tuple[bytes, Outcome]]], None]
OnExpired = Callable[[str, int], None]
Observe = Callable[["Flight", ChunkResult, float], None]

# Where the time of a text ran out.
HELD, WORKER = "held", "worker"


class BatchLimits(NamedTuple):
    """At most `max_batch_size` texts in a chunk; none is held back longer than `max_hold_s`.

    Where some texts cost more than others, they stay until a worker is about to be done.
    """

    max_batch_size: int
    max_hold_s: float


class Hooks(NamedTuple):
    """What the coalescer asks and tells.

    `known` gives answers before a chunk is sent, and is called by the sender thread alone. `landed`
    hears the outcomes of a chunk. `expired` hears how many texts ran out of time, and where.
    `workers` counts those that serve a route. `observe` is told of a chunk when its callers have
    been woken.
    """

    known: Known = lambda flight: {}
    landed: OnLanded = lambda outcomes: None
    expired: OnExpired = lambda stage, texts: None
    workers: Callable[[Route], int] = lambda route: 1
    observe: Observe = lambda flight, result, landed_at: None


class Coalescer:
    """One sender thread that forms chunks and gives them to `submit`; it starts on first use.

    `submit` is called by that thread alone. `now` is the clock of deadlines.
    """

    def __init__(
        self,
        limits: BatchLimits,
        submit: Submit,
        now: Callable[[], float],
        hooks: Hooks | None = None,
    ) -> None:
        self._limits = limits
        self._submit = submit
        self._now = now
        self._hooks = hooks or Hooks()
        self._wake = threading.Condition(threading.Lock())
        self._idle = False
        # When the sender will look by itself, in monotonic seconds.
        self._looks_at = math.inf
        self._closed = False
        self._lanes: defaultdict[Route, Lane] = defaultdict(Lane)
        self._open: dict[bytes, Slot] = {}
        self._thread: threading.Thread | None = None

    def put(self, route: Route, asks: Sequence[Ask]) -> int:
        """Take the texts of a request; how many joined one that was on its way already.

        Raises `ShuttingDown` after `close`.
        """
        joined = 0
        with self._wake:
            if self._closed:
                raise ShuttingDown()
            self._start()
            lane = self._lanes[route]
            for ask in asks:
                if (slot := self._open.get(ask.key)) is not None:
                    slot.asks.append(ask)
                    joined += 1
                else:
                    self._open[ask.key] = slot = Slot(ask, time.monotonic())
                    lane.hold(slot)
            self._nudge(route)
        return joined

    def leave(self, route: Route, keys: Iterable[bytes], waiting: Waiting) -> None:
        """Nobody waits for a request any more: what is held for it alone is not computed."""
        with self._wake:
            lane = self._lanes[route]
            for key in keys:
                slot = self._open.get(key)
                if slot is not None and not slot.leave(waiting) and lane.discard(slot):
                    del self._open[key]

    def line(self, route: Route, cost: float) -> Line:
        """What is in front of texts that cost so much, where they go; takes no lock."""
        lane = self._lanes.get(route)
        return NO_LINE if lane is None else lane.line(cost, time.monotonic())

    def shortest_line(self) -> Line:
        """The shortest one of all lanes in which texts wait; takes no lock."""
        moment = time.monotonic()
        lines = (lane.line(0.0, moment) for lane in list(self._lanes.values()) if lane.is_used)
        return min(lines, default=NO_LINE)

    def close(self) -> None:
        """Send nothing more; whoever still waits fails with `ShuttingDown`."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        with self._wake:
            for slot in self._open.values():
                slot.fail(ShuttingDown())
            self._open.clear()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="sender", daemon=True)
            self._thread.start()

    def _nudge(self, route: Route) -> None:
        # Waking a thread costs more than all the rest of `put`: only when a chunk may leave before
        # the sender looks by itself.
        if self._idle and self._leaves_at(route) < self._looks_at:
            self._idle = False
            self._wake.notify()

    def _loop(self) -> None:
        while (flight := self._next()) is not None:
            try:
                flight = self._without_known(flight)
                self._send(flight)
            except ServingError as error:
                self._failed(flight, error)
            except Exception:
                # A thread that ends would strand every caller.
                logger.exception("chunk could not be sent")
                self._failed(flight, ServingError())

    def _send(self, flight: Flight) -> None:
        if flight.slots:
            chunk = flight.chunk()
            future = self._submit(chunk, flight.route.device)
            future.add_done_callback(partial(self._landed, flight, chunk))

    def _without_known(self, flight: Flight) -> Flight:
        if not (known := self._hooks.known(flight)):
            return flight
        complete: list[Waiting] = []
        with self._wake:
            for slot in flight.slots:
                if slot.key in known:
                    complete += self._answer(slot, known[slot.key])
            rest = [slot for slot in flight.slots if slot.key not in known]
            if not rest:
                self._lanes[flight.route].landed(flight)
        wake(complete)
        return flight._replace(slots=rest)

    def _next(self) -> Flight | None:
        with self._wake:
            while not self._closed:
                flight = self._cut()
                if flight is not None:
                    return flight
                self._looks_at = min(map(self._leaves_at, self._lanes), default=math.inf)
                self._idle = True
                self._wake.wait(self._left_s())
                self._idle = False
        return None

    def _left_s(self) -> float | None:
        is_watching = self._looks_at < math.inf
        return max(0.0, self._looks_at - time.monotonic()) if is_watching else None

    def _leaves_at(self, route: Route) -> float:
        return self._lanes[route].leaves_at(self._limits.max_hold_s)

    def _cut(self) -> Flight | None:
        moment = time.monotonic()
        ready = [route for route in self._lanes if self._leaves_at(route) <= moment]
        # The oldest text first, so that a busy version does not keep a quiet one waiting.
        for route in sorted(ready, key=lambda route: self._lanes[route].oldest_at):
            lane = self._lanes[route]
            if slots := self._take(route, lane, moment):
                cost = sum(slot.cost for slot in slots)
                lands_at = lane.departed(cost, moment)
                deadline = max(slot.deadline for slot in slots)
                is_cut = self._is_cut(lane, slots)
                return Flight(route, slots, moment, deadline, is_cut, lands_at, cost)
        return None

    def _take(self, route: Route, lane: Lane, moment: float) -> list[Slot]:
        slots: list[Slot] = []
        now, lane.workers = self._now(), self._hooks.workers(route)
        is_pressed = partial(Slot.is_half_over, now=now, moment=moment)
        while lane and not slots:
            taken = lane.take(self._limits.max_batch_size, is_pressed)
            # Who cannot be answered in time must not take it from those behind who can.
            soonest = now + lane.soonest_s(sum(slot.cost for slot in taken), moment)
            for slot in taken:
                if slot.dismiss_late(now, soonest):
                    slots.append(slot)
                else:
                    del self._open[slot.key]
                    self._hooks.expired(HELD, 1)
        return slots

    def _is_cut(self, lane: Lane, taken: Sequence[Slot]) -> bool:
        if not lane or len(taken) >= self._limits.max_batch_size:
            return False
        # Else the rest is for workers that are free.
        return lane.in_flight >= lane.workers

    def _landed(self, flight: Flight, chunk: Chunk, done: Future[ChunkResult]) -> None:
        error = ShuttingDown() if done.cancelled() else done.exception()
        if isinstance(error, ServingError):
            self._failed(flight, error)
            return
        if error is not None:
            logger.error("chunk failed", exc_info=error, extra={"ref": flight.route.ref})
            self._failed(flight, ServingError())
            return
        result = done.result()
        landed_at = time.monotonic()
        trip = Trip(flight.sent_at, landed_at, result.preprocess_s, result.inference_s)
        lane = self._lanes[flight.route]
        lane.workers = self._hooks.workers(flight.route)
        keys = [slot.key for slot in flight.slots]
        complete: list[Waiting] = []
        try:
            # Before the callers are told: who asks for the same text next finds it remembered.
            self._hooks.landed(list(zip(keys, result.outcomes, strict=True)))
        finally:
            with self._wake:
                lane.answered(flight, result, landed_at)
                for slot, outcome in zip(flight.slots, result.outcomes, strict=True):
                    if outcome.is_expired and self._is_held_again(flight, chunk, slot):
                        continue
                    complete += self._answer(slot, outcome, trip)
                self._nudge(flight.route)
            wake(complete)
        self._hooks.observe(flight, result, landed_at)

    def _failed(self, flight: Flight, error: ServingError) -> None:
        with self._wake:
            lane = self._lanes[flight.route]
            lane.landed(flight)
            lane.window.lost()
            for slot in flight.slots:
                self._open.pop(slot.key, None)
                slot.fail(error)
            self._nudge(flight.route)

    def _is_held_again(self, flight: Flight, chunk: Chunk, slot: Slot) -> bool:
        self._hooks.expired(WORKER, 1)
        sent = chunk.deadlines[flight.slots.index(slot)] if chunk.deadlines else chunk.deadline
        # Its time was that of the callers it was sent for; one who joined later may have more.
        late_at = min(sent, chunk.deadline)
        if self._closed or not slot.dismiss_late(late_at, late_at):
            return False
        self._lanes[flight.route].hold_again(slot)
        return True

    def _answer(self, slot: Slot, outcome: Outcome, trip: Trip | None = None) -> list[Waiting]:
        self._open.pop(slot.key, None)
        return slot.fill(outcome, trip)


def wake(complete: Iterable[Waiting]) -> None:
    """Wake the requests that have all their outcomes."""
    for waiting in complete:
        waiting.wake()
