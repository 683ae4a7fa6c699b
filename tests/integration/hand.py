"""The worker's part played by hand, message by message, and what it says."""

import base64
import json

import msgspec

from app import fleet
from app.broker import make_celery
from app.contract import Chunk, ChunkResult, HeldModel, HostState, Outcome
from app.inference.gateway import CeleryGateway

REF = "tiny-v1"
FAR = 1e12


class HandWorker:
    """Takes messages off a queue and answers them as a worker's result backend would."""

    def __init__(self, settings, client):
        self.client = client
        self.backend = make_celery(settings, "worker").backend

    def take(self, queue="predict.cpu", timeout_s=5):
        popped = self.client.blpop([queue], timeout=timeout_s)
        assert popped is not None, "nothing was sent"
        message = json.loads(popped[1])
        body = message["body"]
        if message["properties"]["body_encoding"] == "base64":
            body = base64.b64decode(body)
        message["args"] = json.loads(body)[0]
        return message

    def answer(self, message, result, state="SUCCESS"):
        request = msgspec.defstruct("Request", [("reply_to", str)])(
            message["properties"]["reply_to"]
        )
        self.backend.store_result(message["headers"]["id"], result, state, request=request)


def chunk(*texts, deadline=FAR):
    return Chunk(ref=REF, texts=list(texts), deadline=deadline, request_ids=["r1"])


def opened(settings):
    """A gateway that has found Redis and read its clock, as the service waits for it to do."""
    gateway = CeleryGateway(settings)
    assert gateway.fleet().reachable
    return gateway


def result(*probabilities):
    return ChunkResult(
        ref=REF,
        labels=["no", "yes"],
        outcomes=[Outcome([1 - p, p]) for p in probabilities],
        preprocess_s=0.0,
        inference_s=0.0,
    )


def host(**changes):
    state = HostState(
        hostname="w1@test",
        pid=1,
        device="cpu",
        queues=["predict.cpu"],
        models=[HeldModel(REF, "0", fleet.READY)],
        started_at=1.0,
        beat_at=1.0,
        memory_bytes=1,
        chunks=0,
    )
    return msgspec.structs.replace(state, **changes)
