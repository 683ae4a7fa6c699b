"""What monitors like Flower see of the chunks of predictions."""

import time

import pytest

from app.broker import make_celery
from app.contract import Chunk
from app.errors import ModelUnavailable
from tasks.chunk_events import MAX_SHOWN_PER_S
from tests.integration.hand import opened
from tests.integration.jobs import monitored
from tests.integration.workers import FaultyWorker
from tests.waiting import eventually

WHOLE = ["RECEIVED", "STARTED", "SUCCESS"]


@pytest.fixture(scope="module")
def gateway(server, models_dir, settings):
    with FaultyWorker(server.url, models_dir):
        gateway = opened(settings)
        yield gateway
        gateway.close()


@pytest.fixture(scope="module")
def monitor(gateway, settings):
    celery = make_celery(settings, "cli")
    with monitored(celery) as monitor:
        yield monitor
    celery.close()


def chunk(gateway, ref="tiny-v1"):
    return Chunk(ref=ref, texts=["a secret"], deadline=gateway.now() + 10, request_ids=["r1"])


def seen(monitor, state):
    return {task.uuid: task for task in monitor.history if task.state == state}


def test_monitors_see_a_chunk_a_second_from_its_start_to_its_end(gateway, monitor):
    def whole():
        gateway.submit(chunk(gateway), "cpu").result(10)
        shown = map(monitor.of, seen(monitor, "SUCCESS"))
        return [tasks for tasks in shown if [task.state for task in tasks] == WHOLE]

    began_at = time.monotonic()
    last = eventually(whole)[-1][-1]
    for _ in range(200):
        gateway.submit(chunk(gateway), "cpu").result(10)
    took_s = time.monotonic() - began_at

    assert len(seen(monitor, "SUCCESS")) <= 1 + took_s * MAX_SHOWN_PER_S
    assert (last.name, last.args) == ("mlserve.predict_chunk", "<1 texts>")
    assert last.runtime > 0
    assert "secret" not in str([vars(task) for task in monitor.history])


def test_monitors_see_each_chunk_that_fails(gateway, monitor):
    def fail():
        with pytest.raises(ModelUnavailable):
            gateway.submit(chunk(gateway, "unknown-v1"), "cpu").result(10)
        return seen(monitor, "FAILURE")

    eventually(fail)
    before = len(seen(monitor, "FAILURE"))
    for _ in range(20):
        fail()

    eventually(lambda: len(seen(monitor, "FAILURE")) >= before + 20)
    (kind,) = {task.exception for task in seen(monitor, "FAILURE").values()}
    assert kind.startswith("ModelUnavailable")
