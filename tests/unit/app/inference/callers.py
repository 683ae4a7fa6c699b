"""Callers on an event loop, and a gateway that answers them when the test says so."""

import asyncio
import threading
import time
from concurrent.futures import Future

from app.contract import ChunkResult, HeldModel, HostState, Outcome
from app.fleet import Fleet
from tests.models import LABELS

REFS = ("tiny-v1", "tiny-v2")
# v1 and v2 of the hand gateway answer these, so that a mixture shows.
ANSWERS = {"tiny-v1": Outcome([0.2, 0.3, 0.5]), "tiny-v2": Outcome([0.7, 0.2, 0.1])}


class Hand:
    """A gateway whose chunks land when the test says so."""

    def __init__(self):
        self.refs, self.reachable, self.queued = REFS, True, 0
        self.sent = []

    def now(self):
        return time.monotonic()

    def submit(self, chunk, device):
        future = Future()
        self.sent.append((chunk, future))
        return future

    def land(self):
        """Answer all that was sent."""
        for chunk, future in self.sent:
            if not future.done():
                outcomes = [ANSWERS[chunk.ref]] * len(chunk.texts)
                future.set_result(
                    ChunkResult(ref=chunk.ref, labels=list(LABELS), outcomes=outcomes,
                                preprocess_s=0.0, inference_s=0.0)
                )  # fmt: skip

    def texts(self):
        return [text for chunk, _ in self.sent for text in chunk.texts]

    def fleet(self):
        held = [HeldModel(ref, "0" * 64, "ready") for ref in self.refs]
        host = HostState(hostname="h", pid=1, device="cpu", queues=["predict.cpu"], models=held,
                         started_at=0.0, beat_at=0.0, memory_bytes=0, chunks=0)  # fmt: skip
        return Fleet(reachable=self.reachable, hosts=[host], queues={"predict.cpu": self.queued})

    def close(self):
        for _, future in self.sent:
            future.cancel()


class Callers:
    """Requests on one event loop, as the server has one; it runs in a thread of its own."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, predictions, *texts, version=None, wait_s=None):
        """Start a request."""
        asked = predictions.predict(list(texts), version, "r1", wait_s)
        return Call(asyncio.run_coroutine_threadsafe(asked, self._loop))

    def close(self):
        asyncio.run_coroutine_threadsafe(self._cancel(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _cancel(self):
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class Call:
    """A request on its way."""

    def __init__(self, future):
        self._future = future

    def cancel(self):
        """What the server does with a request that it does not want answered any more."""
        self._future.cancel()

    def result(self):
        """Its answer; raises its error."""
        return self._future.result(10)


def ask(predictions, *texts, version=None, wait_s=None):
    """A request with an event loop of its own; its answer."""
    return asyncio.run(predictions.predict(list(texts), version, "r1", wait_s))
