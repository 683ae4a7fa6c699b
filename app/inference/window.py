"""API process. How many chunks of a lane may be in flight, and how large: learned from the last."""

import math

MIN_CHUNKS = 1.0
START_CHUNKS = 2.0
# One that is computed and one that waits: more would only split the same texts into more chunks,
# and a chunk costs each side as much as twenty texts.
MAX_CHUNKS_PER_WORKER = 2.0
# Time on the wire that is never taken for queueing.
SLACK_S = 0.002
# Whoever comes next waits for the chunk that is being computed.
MAX_CHUNK_S = 0.05
# Weight of the last chunk in the moving average of the time for a text.
SMOOTHING = 0.2
# Smaller ones cost more than a second worker saves.
MIN_SHARE = 16


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
    """How many texts the next chunk takes: few enough that it is computed within `MAX_CHUNK_S`.

    A chunk costs each side the same whatever is in it, so the larger the better, while a text
    takes little time.
    """

    __slots__ = ("_text_s",)

    def __init__(self) -> None:
        self._text_s: float | None = None

    def landed(self, texts: int, compute_s: float) -> None:
        """Learn from a chunk that workers computed in `compute_s`."""
        text_s = compute_s / texts
        known = text_s if self._text_s is None else self._text_s
        self._text_s = known + SMOOTHING * (text_s - known)

    def take(self, held: int, idle_workers: int, max_texts: int) -> int:
        """How many of `held` texts, so that workers with nothing to do get about the same."""
        share = max(MIN_SHARE, math.ceil(held / max(1, idle_workers)))
        if self._text_s:
            max_texts = min(max_texts, max(1, int(MAX_CHUNK_S / self._text_s)))
        return min(held, share, max_texts)
