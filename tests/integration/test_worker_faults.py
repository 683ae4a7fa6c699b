"""What a worker survives, and what ends it: real processes, real signals."""

import os
import signal
import socket
import time

import pytest
from billiard.exceptions import WorkerLostError

from app.errors import WorkerOutOfMemory
from app.fleet import read
from app.models.fatal_loads import LOADS_DIR
from tasks.consumer import AGAIN_AFTER_S
from tasks.watchdog import EXIT_HUNG, EXIT_LOCKED
from tests.bad_versions import Blocked, LockKeeper
from tests.integration.workers import FaultyWorker, Sender
from tests.models import build_model, build_pickle
from tests.ports import free_port
from tests.waiting import eventually

# Celery stores a MemoryError before it trips over it; the pool then reports a lost worker.
ESCAPED = (MemoryError, WorkerLostError)
TWO_SLOTS = ("--concurrency", "2")
PICKLES = {"MLSERVE_LIMITS__ALLOW_PICKLE": "true"}


@pytest.fixture(scope="module")
def worker(redis_server, models_dir):
    """One worker with a single slot, used by all tests that leave it alive."""
    with FaultyWorker(redis_server.url, models_dir) as worker:
        yield worker


@pytest.fixture
def sender(redis_server):
    sender = Sender(redis_server.url)
    yield sender
    sender.close()


@pytest.fixture
def tcp_sender(tcp_redis):
    sender = Sender(tcp_redis.url)
    yield sender
    sender.close()


def attempts(directory, name="hold"):
    file = directory / f"{name}.started"
    return file.read_text().splitlines() if file.exists() else []


def is_open(port):
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def release(directory, name="hold"):
    (directory / f"{name}.release").touch()


@pytest.mark.parametrize("fault", ["raise_memory_error", "raise_system_exit"])
def test_task_that_escapes_the_tracer_does_not_cost_the_slot(worker, sender, fault):
    with pytest.raises(ESCAPED):
        sender.send(fault).get(timeout=10)

    assert sender.send("echo", "still here").get(timeout=10) == "still here"


def test_own_task_without_memory_fails_as_itself(worker, sender):
    with pytest.raises(WorkerOutOfMemory):
        sender.send("raise_memory_error_guarded").get(timeout=10)


def test_failed_task_is_not_left_unacknowledged(worker, sender, redis_server):
    with pytest.raises(ESCAPED):
        sender.send("raise_memory_error").get(timeout=10)

    with redis_server.client() as client:
        eventually(lambda: not client.exists("unacked"))


def test_interactive_queue_is_served_before_an_older_job(worker, sender, tmp_path):
    sender.send("hold", str(tmp_path))
    eventually(lambda: attempts(tmp_path))
    job = sender.send("hold", str(tmp_path), "job", queue="jobs.cpu")

    interactive = sender.send("echo", "first")
    release(tmp_path)

    assert interactive.get(timeout=10) == "first"
    eventually(lambda: attempts(tmp_path, "job"))
    release(tmp_path, "job")
    assert job.get(timeout=10) == "job"


@pytest.mark.alone
def test_interactive_task_is_answered_while_a_job_runs_and_jobs_take_turns(
    worker, sender, tmp_path
):
    names = [f"job{number}" for number in range(4)]
    jobs = [sender.send("hold", str(tmp_path), name, queue="jobs.cpu") for name in names]

    for at, name in enumerate(names):
        # At once: not when the wait for interactive messages ends by itself, after a second.
        eventually(lambda name=name: attempts(tmp_path, name), timeout_s=0.7 if at else 10)
        assert sender.send("echo", "not held up").get(timeout=10) == "not held up"
        assert [later for later in names[at + 1 :] if attempts(tmp_path, later)] == []
        release(tmp_path, name)

    assert [job.get(timeout=10) for job in jobs] == names


def test_redis_restart_with_a_message_unacknowledged_does_not_end_the_worker(
    tcp_redis, tcp_sender, models_dir, tmp_path
):
    # One of two slots is busy: a message is unacknowledged while the other slot waits for work.
    with FaultyWorker(tcp_redis.url, models_dir, args=TWO_SLOTS) as worker:
        held = tcp_sender.send("hold", str(tmp_path))
        eventually(lambda: attempts(tmp_path))

        tcp_redis.kill()
        eventually(lambda: "Cannot connect to redis" in worker.logs())
        tcp_redis.start()

        assert tcp_sender.send("echo", "back").get(timeout=10) == "back"
        release(tmp_path)
        assert held.get(timeout=10) == "hold"
        assert len(attempts(tmp_path)) == 1
        assert worker.returncode is None


def test_frozen_redis_does_not_end_the_worker(tcp_redis, tcp_sender, models_dir):
    env = {"MLSERVE_WORKER__STALL_LIMIT_S": "1"}
    with FaultyWorker(tcp_redis.url, models_dir, env=env) as worker:
        tcp_redis.pause()
        eventually(lambda: "loop=watchdog" in worker.logs())  # it looked, and learned nothing
        tcp_redis.resume()

        assert tcp_sender.send("echo", "back").get(timeout=15) == "back"
        assert worker.returncode is None


def test_redis_that_takes_no_writes_is_tried_once_a_second(tcp_redis, models_dir):
    with FaultyWorker(tcp_redis.url, models_dir) as worker, tcp_redis.client() as client:
        started_at = time.monotonic()
        client.replicaof("127.0.0.1", str(free_port()))
        client.client_kill_filter(_type="normal", skipme=True)
        eventually(lambda: worker.logs().count("Cannot connect") >= 3)
        took_s = time.monotonic() - started_at
        said = worker.logs()
        client.replicaof("NO", "ONE")
        eventually(lambda: worker.logs().count("Connected to") == 2)

    assert took_s >= 2 * AGAIN_AFTER_S
    assert "Traceback" not in said


def test_sigterm_finishes_the_running_task_and_withdraws_the_host(
    tcp_redis, tcp_sender, models_dir, tmp_path
):
    with FaultyWorker(tcp_redis.url, models_dir) as worker, tcp_redis.client() as client:
        assert [host.hostname for host in read(client).hosts] == [worker.hostname]
        held = tcp_sender.send("hold", str(tmp_path))
        eventually(lambda: attempts(tmp_path))

        worker.send(signal.SIGTERM)
        eventually(lambda: not read(client).hosts)
        left = tcp_sender.send("echo", "for the next worker")
        release(tmp_path)

        assert worker.wait() == 0
        assert held.get(timeout=10) == "hold"
        assert not client.exists("unacked")
        assert left.state == "PENDING"
        assert client.llen("predict.cpu") == 1


def test_watchdog_ends_a_worker_whose_task_hangs(tcp_redis, tcp_sender, models_dir, tmp_path):
    env = {"MLSERVE_WORKER__HARD_LIMIT_S": "1"}
    with FaultyWorker(tcp_redis.url, models_dir, env=env) as worker:
        tcp_sender.send("hold", str(tmp_path))

        assert worker.wait() == EXIT_HUNG
        assert "worker.hard_limit_s = 1" in worker.logs()
        assert "faults.py" in worker.logs()  # the stack of the hanging task


def test_worker_ends_whose_task_keeps_the_lock_of_the_interpreter(
    tcp_redis, tcp_sender, models_dir
):
    """Where the watchdog's own thread cannot run."""
    env = {"MLSERVE_WORKER__HARD_LIMIT_S": "1"}
    with FaultyWorker(tcp_redis.url, models_dir, env=env) as worker:
        tcp_sender.send("keep_lock")

        assert worker.wait(timeout_s=60) == EXIT_LOCKED
        assert "keep_lock" in worker.logs()


def test_worker_ends_whose_load_keeps_the_lock_of_the_interpreter(tcp_redis, tmp_path):
    build_pickle(tmp_path, LockKeeper())
    env = PICKLES | {"MLSERVE_WORKER__HARD_LIMIT_S": "1"}
    worker = FaultyWorker(tcp_redis.url, tmp_path, env=env)
    try:
        assert worker.launch().wait(timeout_s=50) == EXIT_LOCKED
        assert "joblib" in worker.logs()  # the stack of the load
        assert len(list((worker.directory / LOADS_DIR).iterdir())) == 1
    finally:
        worker.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_worker_that_is_stopped_while_it_loads_does_not_blame_the_version(
    tcp_redis, tmp_path, number
):
    os.mkfifo(tmp_path / "pipe")
    build_pickle(tmp_path / "models", Blocked(str(tmp_path / "pipe")))
    worker = FaultyWorker(tcp_redis.url, tmp_path / "models", env=PICKLES)
    loads = worker.directory / LOADS_DIR
    try:
        worker.launch()
        eventually(lambda: loads.is_dir() and list(loads.iterdir()), timeout_s=60)

        worker.send(number)

        assert worker.wait() == -number
        assert not list(loads.iterdir())
    finally:
        worker.close()


def test_worker_whose_task_hangs_does_not_blame_what_it_loads_meanwhile(
    tcp_redis, tcp_sender, tmp_path
):
    os.mkfifo(tmp_path / "pipe")
    build_model(tmp_path / "models")
    build_pickle(tmp_path / "models", Blocked(str(tmp_path / "pipe")), version="v2")
    env = PICKLES | {"MLSERVE_WORKER__HARD_LIMIT_S": "1"}
    with FaultyWorker(tcp_redis.url, tmp_path / "models", env=env) as worker:
        loads = worker.directory / LOADS_DIR
        eventually(lambda: list(loads.glob("tiny-v2*")))

        tcp_sender.send("hold", str(tmp_path))

        assert worker.wait() == EXIT_HUNG
        assert not list(loads.iterdir())


def test_watchdog_ends_a_worker_that_takes_nothing(tcp_redis, tcp_sender, models_dir):
    env = {"MLSERVE_WORKER__STALL_LIMIT_S": "1"}
    with FaultyWorker(tcp_redis.url, models_dir, env=env) as worker:
        tcp_sender.app.control.broadcast("hang")
        eventually(lambda: "takes no more messages" in worker.logs())
        # Redis gives the first message to the outstanding BRPOP; the second stays in the queue.
        for _ in range(2):
            tcp_sender.send("echo", "never")

        assert worker.wait() == EXIT_HUNG
        assert "worker.stall_limit_s = 1" in worker.logs()


def test_worker_that_is_to_stop_leaves_the_metrics_port_before_its_task_is_done(
    tcp_redis, tcp_sender, models_dir, tmp_path
):
    port = free_port()
    env = {"MLSERVE_MONITORING__PORT": str(port)}
    with FaultyWorker(tcp_redis.url, models_dir, env=env) as worker:
        eventually(lambda: is_open(port))
        task = tcp_sender.send("hold", str(tmp_path))
        eventually(lambda: attempts(tmp_path))

        worker.send(signal.SIGTERM)

        eventually(lambda: not is_open(port))
        assert worker.returncode is None
        release(tmp_path)
        assert task.get(timeout=10) == "hold"
        assert worker.wait() == 0
