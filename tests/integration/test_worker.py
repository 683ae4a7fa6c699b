"""A worker that runs: what it tells, and what it answers."""

import json
import re

import pytest

from app.contract import PREDICT_CHUNK, Chunk
from app.errors import MessageRefused, ModelUnavailable, TaskGivenUp
from app.inference.gateway import CeleryGateway
from app.settings import Redis, Settings
from tests.integration.workers import FaultyWorker, Sender, celery, lone_host
from tests.models import build_model
from tests.processes import RedisServer
from tests.waiting import eventually


@pytest.fixture(scope="module")
def redis_here():
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def models_here(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    build_model(root, "tiny", "v1")
    return root


@pytest.fixture(scope="module")
def worker(redis_here, models_here):
    with FaultyWorker(redis_here.url, models_here) as worker:
        yield worker


@pytest.fixture(scope="module")
def sender(redis_here):
    sender = Sender(redis_here.url)
    yield sender
    sender.close()


@pytest.fixture(scope="module")
def gateway(redis_here):
    gateway = CeleryGateway(Settings(redis=Redis(url=redis_here.url)))
    yield gateway
    gateway.close()


def chunk(gateway, *texts, ref="tiny-v1", in_s=10.0, request_id="r1"):
    deadline = gateway.now() + in_s
    return Chunk(ref=ref, texts=list(texts), deadline=deadline, request_ids=[request_id])


def test_chunk_is_answered_text_by_text(worker, gateway):
    result = gateway.submit(chunk(gateway, "good day", "bad night"), "cpu").result(10)

    best = [result.labels[max(range(3), key=o.probabilities.__getitem__)] for o in result.outcomes]
    assert best == ["positive", "negative"]
    assert result.ref == "tiny-v1"


def test_expired_chunk_is_answered_without_computing(worker, gateway):
    result = gateway.submit(chunk(gateway, "good day", in_s=-1), "cpu").result(10)

    assert [outcome.error.code for outcome in result.outcomes] == ["expired"]
    assert result.inference_s == 0


def test_unknown_version_is_refused_as_itself(worker, gateway):
    with pytest.raises(ModelUnavailable, match="tiny-v9 cannot be served"):
        gateway.submit(chunk(gateway, "good day", ref="tiny-v9"), "cpu").result(10)


def test_message_of_another_version_is_refused_as_itself(worker, sender):
    message = {"v": 2, "ref": "tiny-v1", "texts": [], "deadline": 1.0, "request_ids": []}

    with pytest.raises(MessageRefused, match="version 2"):
        sender.app.send_task("mlserve.predict_chunk", (message,)).get(timeout=10)


def test_request_id_is_in_the_log_and_the_text_is_not(worker, gateway):
    refused = chunk(gateway, "a secret", ref="tiny-v9", request_id="id-of-this-request")

    with pytest.raises(ModelUnavailable):
        gateway.submit(refused, "cpu").result(10)

    eventually(lambda: "[id-of-this-request]" in worker.logs())
    assert "secret" not in worker.logs()


def test_line_about_a_chunk_has_its_id_and_version(worker, gateway):
    with pytest.raises(ModelUnavailable):
        gateway.submit(chunk(gateway, "good", ref="tiny-v8", request_id="r8"), "cpu").result(10)

    (line,) = eventually(lambda: [one for one in worker.logs().splitlines() if "[r8]" in one])
    assert "chunk refused" in line
    assert "ref=tiny-v8" in line
    assert re.search(r"chunk_id=[0-9a-f-]{36}( |$)", line)


@pytest.mark.parametrize("spoilt", ["task", "body"])
def test_message_that_cannot_be_understood_is_logged_without_its_texts(
    worker, sender, redis_here, spoilt
):
    # Without `argsrepr`, which the gateway gives too, Celery has the texts in the headers.
    sender.app.send_task(PREDICT_CHUNK, ("my secret",), queue="jobs.gpu", argsrepr="<1 texts>")
    with redis_here.client() as client:
        message = json.loads(client.blpop(["jobs.gpu"], timeout=5)[1])
        if spoilt == "task":
            message["headers"]["task"] = "of.another.version"
        else:
            message["body"] += "}"
        before = len(worker.logs())
        client.lpush("predict.cpu", json.dumps(message))

    said = {"task": "Received unregistered task", "body": "Can't decode message body"}[spoilt]
    eventually(lambda: said in worker.logs()[before:])
    assert sender.send("echo", "still there").get(timeout=10) == "still there"
    assert "secret" not in worker.logs()


def test_heartbeat_tells_device_queues_and_models(worker, redis_here):
    state = lone_host(redis_here)

    assert (state.hostname, state.pid, state.device) == (worker.hostname, worker.pid, "cpu")
    assert state.queues == ["predict.cpu", "jobs.cpu"]
    assert [(model.ref, model.status) for model in state.models] == [("tiny-v1", "ready")]
    assert state.memory_bytes > 0
    assert abs(state.beat_at - state.started_at) < 3600


def test_heartbeat_goes_on(worker, gateway, redis_here):
    before = lone_host(redis_here)
    gateway.submit(chunk(gateway, "good day"), "cpu").result(10)

    eventually(lambda: lone_host(redis_here).chunks > before.chunks)

    assert lone_host(redis_here).beat_at > before.beat_at


@pytest.mark.parametrize(("command", "expected"), [("ping", "pong"), ("models", "tiny-v1")])
def test_inspect_on_the_command_line_answers(worker, command, expected):
    answer = celery("inspect", command, "--json", env=worker.env)

    assert answer.returncode == 0, answer.stderr
    assert expected in json.dumps(json.loads(answer.stdout)[worker.hostname])


def test_inspect_shows_running_and_registered_tasks(worker, sender, tmp_path):
    held = sender.send("hold", str(tmp_path))
    inspect = sender.app.control.inspect(destination=[worker.hostname], timeout=5)

    (running,) = eventually(lambda: inspect.active()[worker.hostname])
    (tmp_path / "hold.release").touch()

    assert running["name"] == "faults.hold"
    assert "mlserve.predict_chunk" in inspect.registered()[worker.hostname]
    assert held.get(timeout=10) == "hold"


def test_reconcile_command_is_answered_at_once(worker, sender):
    (answer,) = sender.app.control.broadcast(
        "reconcile", reply=True, destination=[worker.hostname], timeout=5
    )

    assert answer[worker.hostname] == {"ok": "looking"}


def test_version_that_appears_is_held_when_somebody_asks_for_it(
    worker, sender, models_here, gateway
):
    build_model(models_here, "tiny", "v2", strength=1.0)
    sender.app.control.broadcast("reconcile", reply=True, destination=[worker.hostname], timeout=5)
    with pytest.raises(ModelUnavailable, match="does not hold it"):
        gateway.submit(chunk(gateway, "good day", ref="tiny-v2"), "cpu").result(10)

    sender.app.control.broadcast("load_model", arguments={"ref": "tiny-v2"})

    eventually(lambda: gateway.fleet().holders("tiny-v2"))
    assert gateway.submit(chunk(gateway, "good day", ref="tiny-v2"), "cpu").result(10).outcomes


def test_task_that_is_delivered_again_and_again_is_given_up(worker, sender, redis_here, tmp_path):
    pushed = _redelivered(sender, redis_here, "echo_guarded", "poison")
    with redis_here.client() as client:
        client.set(f"mlserve:attempts:{pushed['headers']['id']}", 1)
        result = sender.app.AsyncResult(pushed["headers"]["id"])
        client.lpush("predict.cpu", json.dumps(pushed))
        assert result.get(timeout=10) == "poison"
        result.forget()

        client.lpush("predict.cpu", json.dumps(pushed))

        with pytest.raises(TaskGivenUp):
            sender.app.AsyncResult(pushed["headers"]["id"]).get(timeout=10)
        assert client.ttl(f"mlserve:attempts:{pushed['headers']['id']}") > 0


def _redelivered(sender, redis_here, fault, value):
    """A message as kombu restores it from a lost worker; it was taken out of an unused queue."""
    sender.app.send_task(f"faults.{fault}", (value,), queue="jobs.gpu")
    with redis_here.client() as client:
        message = json.loads(client.blpop(["jobs.gpu"], timeout=5)[1])
    message["headers"]["redelivered"] = True
    message["properties"]["delivery_info"] |= {"redelivered": True, "routing_key": "predict.cpu"}
    return message


def test_version_that_is_on_its_way_is_waited_for_and_not_refused(
    gateway, worker, sender, models_here
):
    gateway.submit(chunk(gateway, "first"), "cpu").result(10)
    build_model(models_here, "late", "v1")
    sender.app.control.broadcast("load_model", arguments={"ref": "late-v1"}, reply=True, timeout=1)

    result = gateway.submit(chunk(gateway, "good day", ref="late-v1"), "cpu").result(10)

    assert result.ref == "late-v1"
    assert result.outcomes[0].probabilities is not None
