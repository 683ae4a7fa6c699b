"""API process. How many chunks of a lane may be in flight, learned from how long they take."""

MIN_CHUNKS = 1.0
START_CHUNKS = 2.0
# One that is computed and one that waits: more would only split the same texts into more chunks,
# and a chunk costs each side as much as twenty texts.
MAX_CHUNKS_PER_WORKER = 2.0
# Time on the wire that is never taken for queueing.
SLACK_S = 0.002


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
