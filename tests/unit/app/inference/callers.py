"""Callers in threads of their own, and a gateway that answers them when the test says so."""

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


class Call(threading.Thread):
    """A request in a thread of its own: its answer, or its error."""

    def __init__(self, predictions, *texts, version=None, wait_s=None):
        super().__init__(daemon=True)
        self.arguments = (list(texts), version, "r1", wait_s)
        self.predictions, self.answer, self.error = predictions, None, None
        self.start()

    def run(self):
        try:
            self.answer = self.predictions.predict(*self.arguments)
        except Exception as error:  # noqa: BLE001 - the test asks for it
            self.error = error

    def result(self):
        self.join(10)
        if self.error is not None:
            raise self.error
        return self.answer
