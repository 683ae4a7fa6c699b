"""A worker as it is started by hand: what it refuses, and what it waits for."""

import pytest

from tests.integration.workers import celery, lone_host
from tests.processes import RedisServer, WorkerProcess, service_environment
from tests.waiting import eventually


@pytest.mark.parametrize("pool", ["prefork", "processes", "threads"])
def test_foreign_pool_is_refused_in_one_sentence(pool, tmp_path):
    env = service_environment("unix:///nonexistent.sock", tmp_path, tmp_path)

    ended = celery("worker", "-P", pool, env=env)

    said = [line for line in ended.stderr.splitlines() if line.startswith("mlserve: ")]
    assert ended.returncode == 1
    assert len(said) == 1
    assert "own thread pool" in said[0]
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"MLSERVE_WORKER__HARD_LIMIT_S": "60"}, "worker.hard_limit_s = 60 must be below"),
        ({"MLSERVE_MAX_BATCH_SIZE": "0"}, "max_batch_size = '0'"),
        ({"MLSERVE_WORKER__DEVICE": "gpu", "CUDA_VISIBLE_DEVICES": ""}, "worker.device = 'gpu'"),
        ({"MLSERVE_STATE_DIR": __file__}, "[Errno 20] Not a directory"),
    ],
    ids=[
        "a task may outlive the visibility timeout",
        "a wrong setting",
        "a GPU that is not there",
        "a state directory that is a file",
    ],
)
def test_impossible_setting_is_refused_in_one_sentence(tmp_path, env, words):
    where = service_environment("unix:///nonexistent.sock", tmp_path, tmp_path)

    ended = celery("worker", env=where | env)

    assert ended.returncode == 1
    assert f"mlserve: {words}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_misspelt_queue_is_refused(tmp_path):
    env = service_environment("unix:///nonexistent.sock", tmp_path, tmp_path)

    ended = celery("worker", "-Q", "predict.cpo", env=env)

    assert ended.returncode != 0
    assert "predict.cpo" in ended.stderr


def test_bare_worker_waits_for_redis_and_consumes_all_queues(tmp_path):
    redis = RedisServer()
    worker = WorkerProcess(redis.url, tmp_path, queues=None, hostname="bare@test")
    try:
        worker.launch()
        eventually(lambda: "Cannot connect" in worker.logs(), timeout_s=60)
        redis.start()
        worker.wait_until_ready()
        state = lone_host(redis)
    finally:
        worker.close()
        redis.close()

    assert state.queues == ["predict.cpu", "predict.gpu", "jobs.cpu", "jobs.gpu"]
    assert state.models == []  # an empty models directory ends no worker
