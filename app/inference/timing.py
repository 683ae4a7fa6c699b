"""API process. Where the time of a prediction went, as its `Server-Timing` header tells it."""

from typing import NamedTuple


class Trip(NamedTuple):
    """The way of one chunk, in monotonic seconds, and the seconds that a worker spent on it."""

    sent_at: float
    landed_at: float
    preprocess_s: float
    inference_s: float


class Timing(NamedTuple):
    """The seconds of one request that gave its texts to the coalescer at `asked_at` (monotonic)."""

    asked_at: float
    batch_s: float
    queue_s: float
    preprocess_s: float
    inference_s: float

    @classmethod
    def of(cls, asked_at: float, trip: Trip) -> "Timing":
        """Of a request, each second counted once.

        One that joined a chunk on its way waited for what was left of it: the queue, that is the
        way to the worker, the line in front of it and the way back, is what computing leaves.
        """
        sent_at, landed_at, preprocess_s, inference_s = trip
        batch_s, waited_s = sent_at - asked_at, landed_at - sent_at
        if batch_s < 0.0:
            batch_s, waited_s = 0.0, landed_at - asked_at
        queue_s = waited_s - preprocess_s - inference_s
        return cls(asked_at, batch_s, queue_s if queue_s > 0.0 else 0.0, preprocess_s, inference_s)

    def header(self) -> str:
        """The value of `Server-Timing`, in milliseconds."""
        return _HEADER % (
            self.batch_s * 1000,
            self.queue_s * 1000,
            self.preprocess_s * 1000,
            self.inference_s * 1000,
        )


_HEADER = "batch;dur=%.3f, queue;dur=%.3f, preprocess;dur=%.3f, inference;dur=%.3f"
# No chunk was sent: all that was asked for was remembered.
REMEMBERED = "cache;desc=hit"
