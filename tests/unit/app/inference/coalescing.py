"""Requests and workers for tests of the coalescer, both in the hands of the test."""

import threading
from concurrent.futures import Future

from app.contract import ChunkResult, Outcome
from app.inference.lanes import Route
from app.inference.slots import Ask, Waiting

ROUTE = Route("tiny-v1", "cpu")
FAR = 1e12


class Workers:
    """What the coalescer submits to: chunks pile up until the test lets them land."""

    def __init__(self):
        self.chunks = []
        self.arrived = threading.Semaphore(0)
        self.error, self.refused = None, None

    def submit(self, chunk, device):
        if self.error is not None and self.refused in (None, *chunk.texts):
            raise self.error
        future = Future()
        self.chunks.append((chunk, future))
        self.arrived.release()
        return future

    def next(self):
        assert self.arrived.acquire(timeout=5), "no chunk was sent"
        return self.chunks[-1]

    def land(self, number, outcome_of=None, inference_s=0.0):
        chunk, future = self.chunks[number]
        future.set_result(
            ChunkResult(
                ref=chunk.ref,
                labels=["no", "yes"],
                outcomes=[(outcome_of or answer)(text) for text in chunk.texts],
                preprocess_s=0.0,
                inference_s=inference_s,
            )
        )

    def texts(self):
        return [chunk.texts for chunk, _ in self.chunks]


def answer(text):
    return Outcome([len(text) / 100, 1 - len(text) / 100])


class Asked(Waiting):
    """A request and the thread that waits for it; `joined` texts were on their way already."""

    joined = 0

    def __init__(self, count):
        self.done = threading.Event()
        super().__init__(count, self.done)

    def wait(self, timeout_s):
        """Outcomes or error as soon as the request was woken; `TimeoutError` where it was not."""
        if not self.done.wait(timeout_s):
            raise TimeoutError
        return self.result()


def ask(coalescer, *texts, deadline=FAR, route=ROUTE, request_id="r", cost=1.0):
    waiting = Asked(len(texts))
    asks = [
        Ask(route.ref.encode() + text.encode(), text, waiting, place, deadline, request_id, cost)
        for place, text in enumerate(texts)
    ]
    waiting.joined = coalescer.put(route, asks)
    return waiting
