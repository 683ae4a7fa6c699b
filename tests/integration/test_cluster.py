"""pytest-celery's failover scenarios on local processes: two workers and one Redis."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.contract import Chunk
from app.errors import ServingError
from app.inference.gateway import CeleryGateway
from app.settings import Redis, Settings
from tests.waiting import eventually


@pytest.fixture
def gateway(celery_setup, cluster_redis):
    gateway = CeleryGateway(Settings(redis=Redis(url=cluster_redis.url)))
    yield gateway
    gateway.close()


def send_held(celery_setup, directory, *names):
    app = celery_setup.app
    return [
        app.send_task("faults.hold", (str(directory), name), queue="jobs.cpu") for name in names
    ]


def attempts(directory, *names):
    files = [directory / f"{name}.started" for name in names]
    return [file.read_text().split() for file in files if file.exists()]


def predict(gateway, text="good day"):
    chunk = Chunk(ref="tiny-v1", texts=[text], deadline=gateway.now() + 3, request_ids=["r1"])
    try:
        return gateway.submit(chunk, "cpu").result(5).outcomes[0].probabilities
    except ServingError:
        return None


def test_nodes_are_ready_and_answer_pings(celery_setup):
    assert celery_setup.ready(ping=False, control=True, docker=True)
    names = [worker.hostname() for worker in celery_setup.worker_cluster]

    answers = celery_setup.app.control.ping(destination=names, timeout=5)

    assert sorted(name for answer in answers for name in answer) == ["w1@cluster", "w2@cluster"]


def test_predictions_go_on_after_a_restart_of_redis(celery_setup, gateway):
    eventually(lambda: predict(gateway))

    celery_setup.broker.kill("SIGKILL")
    with ThreadPoolExecutor(4) as threads:
        during = list(threads.map(lambda _: predict(gateway), range(4)))
    celery_setup.broker.restart()

    assert during == [None] * 4
    eventually(lambda: predict(gateway), timeout_s=10)
    for worker in celery_setup.worker_cluster:
        assert worker.container.status == "running"
        assert "Unrecoverable" not in worker.logs()


def test_message_of_a_killed_worker_is_taken_by_the_other(celery_setup, tmp_path):
    first, second = celery_setup.worker_cluster
    results = send_held(celery_setup, tmp_path, "a", "b")
    eventually(lambda: sum(map(len, attempts(tmp_path, "a", "b"))) == 2)

    first.kill("SIGKILL")
    for name in ("a", "b"):
        (tmp_path / f"{name}.release").touch()

    assert [result.get(timeout=20) for result in results] == ["a", "b"]
    tries = attempts(tmp_path, "a", "b")
    assert sorted(map(len, tries)) == [1, 2]
    survivor = str(second.container.process.pid)
    assert all(pids[-1] == survivor for pids in tries)
