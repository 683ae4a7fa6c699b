"""The gateway when replies, workers or Redis fail it; the worker's part is played by hand."""

import io
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app import fleet, logs
from app.errors import BrokerUnavailable, ModelUnavailable, ServingError, ShuttingDown
from app.inference.gateway import CeleryGateway
from app.inference.pending import MAX_REFUSALS
from app.settings import Logging, Redis, Settings
from tests.integration.hand import REF, HandWorker, chunk, host, opened, result
from tests.processes import RedisServer
from tests.waiting import eventually


def test_garbage_in_the_mailbox_does_not_stop_the_receiver(gateway, worker, client):
    first = gateway.submit(chunk("a"), "cpu")
    message = worker.take()
    client.rpush(message["properties"]["reply_to"], b"\xff not json")

    worker.answer(message, result(0.5).to_message())

    assert first.result(5) == result(0.5)


@pytest.mark.parametrize("words", ["a secret", {"exc_type": "X"}, {"exc_message": ["a secret"]}])
def test_reply_that_is_not_understood_fails_its_chunk_at_once_and_is_in_no_log(
    gateway, worker, client, monkeypatch, words
):
    handler = logs.make_handler(Logging(format="json"), "api")
    monkeypatch.setattr(handler, "stream", io.StringIO())
    monkeypatch.setattr(logging.getLogger("app.inference"), "handlers", [handler])
    future = gateway.submit(chunk("a secret"), "cpu")
    message = worker.take()
    reply = {"task_id": message["headers"]["id"], "state": "FAILURE", "result": words}

    client.rpush(message["properties"]["reply_to"], json.dumps(reply))

    with pytest.raises(ServingError):
        future.result(5)
    written = handler.stream.getvalue()
    assert message["headers"]["id"] in written
    assert "secret" not in written
    assert "background step failed" not in written


def test_refusal_of_one_worker_is_no_answer_while_another_one_holds_the_version(
    gateway, worker, client
):
    fleet.publish(client, host())
    eventually(lambda: gateway.fleet().holders(REF, "predict.cpu"))
    future = gateway.submit(chunk("a"), "cpu")
    first = worker.take()

    worker.answer(first, ModelUnavailable(REF, "broken"), state="FAILURE")

    again = worker.take()
    assert again["headers"]["id"] == first["headers"]["id"]
    worker.answer(again, result(0.5).to_message())
    assert future.result(5) == result(0.5)


def test_chunk_that_every_worker_refuses_fails_with_their_reason_in_the_end(
    gateway, worker, client, monkeypatch
):
    monkeypatch.setattr("app.inference.pending.REFUSED_PAUSE_S", 0.0)
    fleet.publish(client, host())
    eventually(lambda: gateway.fleet().holders(REF, "predict.cpu"))
    future = gateway.submit(chunk("a"), "cpu")

    for _ in range(MAX_REFUSALS + 1):
        worker.answer(worker.take(), ModelUnavailable(REF, "broken"), state="FAILURE")

    with pytest.raises(ModelUnavailable, match="broken"):
        future.result(5)
    assert client.llen("predict.cpu") == 0


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


def test_unanswered_chunk_is_sent_again_once_and_either_answer_counts(gateway, worker, client):
    future = gateway.submit(chunk("a", deadline=gateway.now() + 2), "cpu")
    first = worker.take()

    second = worker.take()

    assert second["args"] == first["args"]
    assert second["headers"]["id"] == first["headers"]["id"]
    worker.answer(second, result(0.5).to_message())
    assert future.result(5) == result(0.5)
    worker.answer(first, result(0.5).to_message())
    eventually(lambda: not client.exists(first["properties"]["reply_to"]))
    assert client.llen("predict.cpu") == 0


def test_overtaken_chunk_is_sent_again_long_before_its_deadline(gateway, worker):
    lost = gateway.submit(chunk("lost"), "cpu")
    worker.take()
    later = gateway.submit(chunk("later"), "cpu")
    worker.answer(worker.take(), result(0.1).to_message())
    assert later.result(5) == result(0.1)

    again = worker.take()

    assert again["args"][0]["texts"] == ["lost"]
    worker.answer(again, result(0.2).to_message())
    assert lost.result(5) == result(0.2)


def test_chunk_that_nobody_answers_is_expired_at_its_deadline_and_sent_twice_at_most(
    gateway, worker, client
):
    started = time.monotonic()
    future = gateway.submit(chunk("a", "b", deadline=gateway.now() + 1), "cpu")

    outcomes = future.result(5).outcomes

    assert [outcome.is_expired for outcome in outcomes] == [True, True]
    assert 0.9 < time.monotonic() - started < 2
    assert client.llen("predict.cpu") == 2


def test_chunk_that_cannot_be_published_is_refused_in_the_calling_thread(settings, worker, server):
    gateway = opened(settings)
    gateway.submit(chunk("warm-up"), "cpu").cancel()
    server.pause()
    started = time.monotonic()

    with pytest.raises(BrokerUnavailable):
        gateway.submit(chunk("late"), "cpu")

    assert time.monotonic() - started < 3 * settings.redis.socket_timeout_s
    assert len(gateway._pending) == 0
    server.resume()
    gateway.close()


def test_redis_that_takes_no_chunk_costs_a_log_line_a_second(gateway, client, caplog):
    started = time.monotonic()
    client.config_set("maxmemory", "1")
    try:
        for _ in range(20):
            with pytest.raises(BrokerUnavailable):
                gateway.submit(chunk("a"), "cpu")
    finally:
        client.config_set("maxmemory", "0")

    took_s = time.monotonic() - started
    assert 1 <= caplog.messages.count("publishing failed") <= 1 + took_s


def test_chunk_is_published_though_its_connection_is_lost_meanwhile(tcp_redis):
    """Whether it had arrived is not known; a chunk may be computed twice."""
    settings = Settings(redis=Redis(url=tcp_redis.url, socket_timeout_s=5))
    gateway = opened(settings)
    with tcp_redis.client() as client, ThreadPoolExecutor(1) as pool:
        worker = HandWorker(settings, client)
        gateway.submit(chunk("a"), "cpu")
        worker.take()
        client.client_pause(60_000, all=False)
        submitted = pool.submit(gateway.submit, chunk("b"), "cpu")
        eventually(lambda: any(each["cmd"] == "lpush" for each in client.client_list()))
        client.client_kill_filter(_type="normal", skipme=True)
        client.client_unpause()

        future = submitted.result(10)
        worker.answer(worker.take(), result(0.5).to_message())
        assert future.result(5) == result(0.5)
    gateway.close()


def test_mailbox_expires_when_its_reader_is_gone(settings, worker, client):
    gateway = opened(settings)
    gateway.submit(chunk("a"), "cpu")
    message = worker.take()
    gateway.close()

    worker.answer(message, result(0.1).to_message())

    assert 0 < client.ttl(message["properties"]["reply_to"]) <= 60


def test_close_fails_what_still_waits(settings, worker):
    gateway = opened(settings)
    future = gateway.submit(chunk("a"), "cpu")
    worker.take()

    gateway.close()

    with pytest.raises(ShuttingDown):
        future.result(0)
    with pytest.raises(ShuttingDown):
        gateway.submit(chunk("b"), "cpu")


def test_no_redis_fails_at_once_and_says_so():
    gateway = CeleryGateway(Settings(redis=Redis(url="unix:///nonexistent/redis.sock")))

    with pytest.raises(BrokerUnavailable):
        gateway.submit(chunk("a"), "cpu")
    assert not gateway.fleet().reachable
    with pytest.raises(BrokerUnavailable):
        gateway.now()
    gateway.close()


def test_gateway_recovers_when_redis_is_restarted():
    with RedisServer() as server, server.client() as client:
        settings = Settings(redis=Redis(url=server.url, socket_timeout_s=0.5))
        gateway = opened(settings)
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


def test_second_try_that_falls_into_an_outage_of_redis_is_made_afterwards(caplog):
    caplog.set_level(logging.INFO)
    with RedisServer() as server, server.client() as client:
        settings = Settings(redis=Redis(url=server.url, socket_timeout_s=0.5))
        gateway = opened(settings)
        future = gateway.submit(chunk("a", deadline=gateway.now() + 4), "cpu")
        HandWorker(settings, client).take()
        server.kill()
        eventually(lambda: all(sent.is_second_try for sent in gateway._pending.all()))
        eventually(lambda: "publishing failed" in caplog.messages)
        assert "chunk sent again" not in caplog.messages

        server.start()

        with server.client() as afterwards:
            worker = HandWorker(settings, afterwards)
            worker.answer(worker.take(), result(0.5).to_message())
            assert future.result(5) == result(0.5)
        assert caplog.messages.count("chunk sent again") == 1
        gateway.close()
