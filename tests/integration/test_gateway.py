"""The gateway on a real Redis; the worker's part is played by hand, message by message."""

import io
import json
import logging
import threading

import pytest

from app import fleet, logs
from app.errors import ModelUnavailable, ServingError
from app.inference.gateway import WATCH_S, CeleryGateway
from app.settings import Logging
from tests.integration.hand import REF, chunk, host, result
from tests.waiting import eventually


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


def test_chunk_that_failed_is_logged_with_its_id_and_those_of_its_requests(
    gateway, worker, monkeypatch
):
    handler = logs.make_handler(Logging(format="json"), "api")
    monkeypatch.setattr(handler, "stream", io.StringIO())
    monkeypatch.setattr(logging.getLogger("app.inference.replies"), "handlers", [handler])
    future = gateway.submit(chunk("a"), "cpu")
    message = worker.take()

    worker.answer(message, ValueError("a secret"), state="FAILURE")

    with pytest.raises(ServingError):
        future.result(5)
    line = json.loads(handler.stream.getvalue().splitlines()[-1])
    assert (line["level"], line["message"], line["kind"]) == ("ERROR", "chunk failed", "ValueError")
    assert (line["request_id"], line["ref"]) == ("r1", REF)
    assert line["chunk_id"] == message["headers"]["id"]
    assert "secret" not in str(line)


def test_result_of_another_version_is_refused(gateway, worker):
    future = gateway.submit(chunk("a"), "cpu")

    worker.answer(worker.take(), result(0.5).to_message() | {"v": 2})

    with pytest.raises(ServingError, match="version 2"):
        future.result(5)


def test_result_with_a_wrong_number_of_outcomes_is_refused(gateway, worker):
    future = gateway.submit(chunk("a", "b"), "cpu")

    worker.answer(worker.take(), result(0.5).to_message())

    with pytest.raises(ServingError, match="1 outcomes of 2 texts"):
        future.result(5)


def test_fleet_shows_a_host_while_it_beats(gateway, client):
    eventually(lambda: not gateway.fleet().hosts)

    fleet.publish(client, host())
    eventually(lambda: gateway.fleet().holders(REF, "predict.cpu"))
    fleet.withdraw(client, "w1@test")

    eventually(lambda: not gateway.fleet().hosts)


@pytest.mark.parametrize("other", [b'{"v": 2, "colour": "red"}', b'{"\xff": 1}'])
def test_fleet_ignores_a_host_of_another_version(gateway, client, other):
    fleet.publish(client, host())
    client.sadd("mlserve:hosts", "newer@test")
    client.set("mlserve:host:newer@test", other)

    eventually(lambda: gateway.fleet().hosts)

    assert [h.hostname for h in fleet.read(client).hosts] == ["w1@test"]


def test_fleet_counts_waiting_messages(gateway, worker, client):
    gateway.submit(chunk("a"), "cpu")

    eventually(lambda: gateway.fleet().queues["predict.cpu"] == 1)


def test_deadlines_are_in_the_time_of_redis(gateway, client):
    seconds, _ = client.time()

    assert abs(gateway.now() - seconds) < 5


def test_nothing_is_started_before_first_use(settings):
    before = set(threading.enumerate())
    gateway = CeleryGateway(settings)

    assert set(threading.enumerate()) == before

    gateway.close()


def test_fleet_is_looked_at_often_while_nobody_is_in_it(gateway, client):
    """Else callers would be told that there is no worker for up to a second more."""
    with client.monitor() as monitor:
        gateway.nudge()
        commands = (one for one in monitor.listen() if one["command"] == "TIME")
        first, *_, fourth = (next(commands)["time"] for _ in range(4))

    assert fourth - first < WATCH_S
