"""The gateway on a real Redis; the worker's part is played by hand, message by message."""

import base64
import json

import msgspec
import pytest

from app import fleet
from app.broker import make_celery
from app.contract import Chunk, ChunkResult, HeldModel, HostState, Outcome
from app.errors import BrokerUnavailable, ModelUnavailable, ServingError
from app.inference.gateway import CeleryGateway
from app.settings import Redis, Settings
from tests.processes import RedisServer
from tests.waiting import eventually

REF = "tiny-v1"


class HandWorker:
    """Takes messages off a queue and answers them as a worker's result backend would."""

    def __init__(self, settings, client):
        self.client = client
        self.backend = make_celery(settings, "worker").backend

    def take(self, queue="predict.cpu"):
        popped = self.client.blpop([queue], timeout=5)
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


def chunk(*texts):
    return Chunk(ref=REF, texts=list(texts), deadline=1.0, request_ids=["r1"])


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


@pytest.fixture(scope="module")
def server():
    with RedisServer() as server:
        yield server


@pytest.fixture
def client(server):
    with server.client() as client:
        client.flushall()
        yield client


@pytest.fixture(scope="module")
def settings(server):
    return Settings(redis=Redis(url=server.url, socket_timeout_s=0.5))


@pytest.fixture(scope="module")
def gateway(settings):
    gateway = CeleryGateway(settings)
    yield gateway
    gateway.close()


@pytest.fixture
def worker(settings, client):
    return HandWorker(settings, client)


def test_result_reaches_the_caller_exactly(gateway, worker):
    future = gateway.submit(chunk("a", "b"), "cpu")

    worker.answer(worker.take(), result(0.1, 1 / 3).to_message())

    assert future.result(5) == result(0.1, 1 / 3)


def test_answers_in_any_order_reach_their_callers(gateway, worker):
    futures = [gateway.submit(chunk(str(i)), "cpu") for i in range(20)]
    messages = [worker.take() for _ in futures]

    for message in reversed(messages):
        number = int(message["args"][0]["texts"][0])
        worker.answer(message, result(number / 100).to_message())

    for i, future in enumerate(futures):
        assert future.result(5) == result(i / 100)


def test_chunk_goes_to_the_queue_of_its_device(gateway, worker):
    gateway.submit(chunk("a"), "gpu")

    assert worker.take("predict.gpu")["args"][0]["texts"] == ["a"]


def test_texts_are_not_in_message_headers(gateway, worker):
    gateway.submit(chunk("a secret"), "cpu")

    message = worker.take()

    assert "secret" not in json.dumps([message["headers"], message["properties"]])
    assert message["headers"]["argsrepr"] == "<1 texts>"


def test_error_of_the_worker_arrives_as_itself(gateway, worker):
    future = gateway.submit(chunk("a"), "cpu")

    worker.answer(worker.take(), ModelUnavailable(REF, "broken"), state="FAILURE")

    with pytest.raises(ModelUnavailable, match="tiny-v1 cannot be served: broken"):
        future.result(5)


def test_foreign_error_of_the_worker_keeps_its_words_to_itself(gateway, worker):
    future = gateway.submit(chunk("a"), "cpu")

    worker.answer(worker.take(), ValueError("a secret"), state="FAILURE")

    with pytest.raises(ServingError) as caught:
        future.result(5)
    assert type(caught.value) is ServingError
    assert "secret" not in str(caught.value)


def test_result_of_another_version_is_refused(gateway, worker):
    future = gateway.submit(chunk("a"), "cpu")

    worker.answer(worker.take(), result(0.5).to_message() | {"v": 2})

    with pytest.raises(ServingError, match="version 2"):
        future.result(5)


def test_garbage_in_the_mailbox_does_not_stop_the_receiver(gateway, worker, client):
    first = gateway.submit(chunk("a"), "cpu")
    message = worker.take()
    client.rpush(message["properties"]["reply_to"], b"\xff not json")

    worker.answer(message, result(0.5).to_message())

    assert first.result(5) == result(0.5)


def test_late_reply_is_dropped_without_a_trace(gateway, worker, client):
    waiting_before = len(gateway._pending)
    late = gateway.submit(chunk("a"), "cpu")
    message = worker.take()
    late.cancel()

    worker.answer(message, result(0.1).to_message())
    next_future = gateway.submit(chunk("b"), "cpu")
    worker.answer(worker.take(), result(0.2).to_message())

    assert next_future.result(5) == result(0.2)
    assert len(gateway._pending) == waiting_before
    assert client.exists(message["properties"]["reply_to"]) == 0


def test_cancelled_chunk_that_was_not_sent_is_never_sent(gateway, worker, server):
    gateway.submit(chunk("warm-up"), "cpu")
    worker.take()
    server.pause()  # the sender hangs on the first chunk while the second waits behind it
    gateway.submit(chunk("first"), "cpu")
    gateway.submit(chunk("late"), "cpu").cancel()
    server.resume()
    gateway.submit(chunk("last"), "cpu")

    sent = []
    while "last" not in sent:
        sent += worker.take()["args"][0]["texts"]

    assert "late" not in sent


def test_mailbox_expires_when_its_reader_is_gone(settings, worker, client):
    gateway = CeleryGateway(settings)
    gateway.submit(chunk("a"), "cpu")
    message = worker.take()
    gateway.close()

    worker.answer(message, result(0.1).to_message())

    assert 0 < client.ttl(message["properties"]["reply_to"]) <= 60


def test_close_fails_what_still_waits(settings, worker):
    gateway = CeleryGateway(settings)
    future = gateway.submit(chunk("a"), "cpu")
    worker.take()

    gateway.close()

    with pytest.raises(BrokerUnavailable):
        future.result(0)


def test_fleet_shows_a_host_while_it_beats(gateway, client):
    eventually(lambda: not gateway.fleet().hosts)

    fleet.publish(client, host())
    eventually(lambda: gateway.fleet().holders(REF, "predict.cpu"))
    fleet.withdraw(client, "w1@test")

    eventually(lambda: not gateway.fleet().hosts)


def test_fleet_ignores_a_host_of_another_version(gateway, client):
    fleet.publish(client, host())
    client.set("mlserve:host:newer@test", b'{"v": 2, "colour": "red"}')

    eventually(lambda: gateway.fleet().hosts)

    assert [h.hostname for h in fleet.read(client).hosts] == ["w1@test"]


def test_fleet_counts_waiting_messages(gateway, worker, client):
    gateway.submit(chunk("a"), "cpu")

    eventually(lambda: gateway.fleet().queues["predict.cpu"] == 1)


def test_deadlines_are_in_the_time_of_redis(gateway, client):
    seconds, _ = client.time()

    assert abs(gateway.now() - seconds) < 5


def test_no_redis_fails_at_once_and_says_so():
    gateway = CeleryGateway(Settings(redis=Redis(url="unix:///nonexistent/redis.sock")))

    with pytest.raises(BrokerUnavailable):
        gateway.submit(chunk("a"), "cpu").result(2)
    assert not gateway.fleet().reachable
    with pytest.raises(BrokerUnavailable):
        gateway.now()
    gateway.close()


def test_gateway_recovers_when_redis_is_restarted():
    with RedisServer() as server, server.client() as client:
        settings = Settings(redis=Redis(url=server.url, socket_timeout_s=0.5))
        gateway = CeleryGateway(settings)
        assert gateway.fleet().reachable
        server.kill()
        eventually(lambda: not gateway.fleet().reachable)

        server.start()
        eventually(lambda: gateway.fleet().reachable)

        future = gateway.submit(chunk("a"), "cpu")
        worker = HandWorker(settings, client)
        worker.answer(worker.take(), result(0.5).to_message())
        assert future.result(5) == result(0.5)
        gateway.close()


def test_nothing_is_started_before_first_use(settings):
    gateway = CeleryGateway(settings)

    assert gateway._threads == []

    gateway.close()
