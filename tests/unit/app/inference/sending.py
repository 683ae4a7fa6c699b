"""Clocks in the hands of the test, and chunks that are sent by them."""

from app.contract import Chunk

REDIS_START = 1_700_000_000.0
START = 1000.0


class Clock:
    """Two clocks that a test moves together: monotonic seconds, and those of Redis."""

    def __init__(self):
        self.moment = START

    def now(self):
        return self.moment

    def redis_now(self):
        return REDIS_START + self.moment - START

    def forward(self, seconds):
        self.moment += seconds


def chunk(deadline, *texts, ref="tiny-v1"):
    return Chunk(ref=ref, texts=list(texts) or ["a"], deadline=deadline, request_ids=["r"])
