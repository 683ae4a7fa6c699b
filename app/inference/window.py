"""API process. How many chunks of a lane may be in flight, and how large: learned from the last."""

import math
from collections import deque

MIN_CHUNKS = 1.0
START_CHUNKS = 2.0
# One that is computed and one that waits: more would only split the same texts into more chunks,
# and a chunk costs each side as much as twenty texts.
MAX_CHUNKS_PER_WORKER = 2.0
# Time on the wire that is never taken for queueing.
SLACK_S = 0.002
# Whoever comes next waits for the chunk that is being computed ...
MAX_CHUNK_S = 0.1
# ... which may take longer where all wait longer anyway: this share of what a worker has to do.
SHARE_OF_WAIT = 0.25
# Weight of the last chunk in the moving average of the time for a unit of cost.
SMOOTHING = 0.2
LAST_CHUNKS = 8
# A chunk that takes less costs both sides more than a second worker saves.
MIN_SHARE_S = 0.005


class Window:
    """Grows while workers take chunks at once, shrinks while chunks wait in line.

    Delay-based, after TCP Vegas (Brakmo and Peterson, 1995): the part of a round trip in which
    nothing was computed is time in the queue. A chunk should find at most about one other before
    it; more in flight adds waiting and no throughput, and keeps texts from sharing a batch. Chunks
    that take little longer than the wire are not told apart by their delay: the number of workers
    bounds the window as well.
    """

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = START_CHUNKS

    def landed(
        self, round_trip_s: float, compute_s: float, has_backlog: bool, workers: int
    ) -> None:
        """Learn from one chunk; only a lane that holds texts back has a reason to grow.

        `workers` is the number of those that could have taken it.
        """
        queued_s = round_trip_s - compute_s
        if queued_s > compute_s + SLACK_S:
            self.size = max(MIN_CHUNKS, self.size - 1 / self.size)
        elif has_backlog:
            self.size += 1 / self.size
        self.size = min(self.size, max(MIN_CHUNKS, MAX_CHUNKS_PER_WORKER * workers))

    def lost(self) -> None:
        """A chunk failed or was not answered: begin again."""
        self.size = MIN_CHUNKS


class ChunkSize:
    """How much the next chunk may cost: so much that it is computed within `MAX_CHUNK_S`.

    A chunk costs each side the same whatever is in it, so the larger the better, while a text
    takes little time. Costs are in texts or tokens (`app.inference.costs`).
    """

    __slots__ = ("_last", "_unit_s")

    def __init__(self) -> None:
        self._unit_s: float | None = None
        self._last: deque[float] = deque(maxlen=LAST_CHUNKS)

    @property
    def unit_s(self) -> float:
        """Seconds for a cost of 1, as measured; 0.0 before the first chunk."""
        return self._unit_s or 0.0

    @property
    def least_unit_s(self) -> float:
        """The least that a cost of 1 took lately: one slow chunk says little of the next."""
        return min(self._last, default=0.0)

    def landed(self, cost: float, compute_s: float) -> None:
        """Learn from a chunk that a worker computed in `compute_s`."""
        unit_s = compute_s / cost
        self._last.append(unit_s)
        known = unit_s if self._unit_s is None else self._unit_s
        self._unit_s = known + SMOOTHING * (unit_s - known)

    def max_cost(self, held_cost: float, workers: int, idle_workers: int) -> float:
        """Of texts that cost `held_cost`; `workers` that have nothing to do get about the same."""
        if not self.unit_s:
            return math.inf
        share = max(held_cost / max(1, idle_workers), MIN_SHARE_S / self.unit_s)
        worth_s = SHARE_OF_WAIT * held_cost * self.unit_s / max(1, workers)
        return min(share, max(MAX_CHUNK_S, worth_s) / self.unit_s)
