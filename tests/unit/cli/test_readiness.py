"""When a start is given up: a process that ends by itself, a worker that cannot load the model."""

import os
import sys
from pathlib import Path

import pytest

from app import fleet
from app.broker import redis_client
from app.contract import HeldModel, HostState
from app.errors import DefaultModelBroken, StartRefused
from app.models.base import Ref
from app.settings import Redis, Server, Settings
from cli.child import Spec
from cli.readiness import Readiness
from cli.supervisor import Supervisor
from tests.ports import free_port
from tests.processes import RedisServer

DEFAULT = Ref("sentiment", "v2")
FOREVER = "import time; time.sleep(600)"


@pytest.fixture(scope="module")
def redis_server():
    with RedisServer() as server:
        yield server


@pytest.fixture
def settings(redis_server):
    with redis_server.client() as client:
        client.flushall()
    return Settings(redis=Redis(url=redis_server.url), server=Server(port=free_port()))


@pytest.fixture
def supervisor():
    supervisor = Supervisor(lambda name, line: None)
    yield supervisor
    supervisor.stop()


def start(supervisor, code):
    spec = Spec("worker.1", [sys.executable, "-c", code], Path.cwd(), dict(os.environ))
    supervisor.start(spec)
    return supervisor.pids()["worker.1"]


def say(settings, pid, **model):
    held = HeldModel(ref=str(DEFAULT), digest="d", **model)
    state = HostState(
        hostname="cpu1@test",
        pid=pid,
        device="cpu",
        queues=["predict.cpu"],
        models=[held],
        started_at=0.0,
        beat_at=0.0,
        memory_bytes=0,
        chunks=0,
    )
    with redis_client(settings) as client:
        fleet.publish(client, state)


def test_process_that_ends_during_the_start_is_named(settings, supervisor):
    start(supervisor, "raise SystemExit(70)")
    readiness = Readiness(settings, DEFAULT, supervisor)

    with pytest.raises(StartRefused, match=r"worker\.1 ended after .* \(exit code 70\)"):
        supervisor.run_until(readiness.is_reached, 10)


def test_worker_that_cannot_load_the_default_model_ends_the_start(settings, supervisor):
    pid = start(supervisor, FOREVER)
    say(settings, pid, status=fleet.FAILED, error="classifier.skops is not the one")
    readiness = Readiness(settings, DEFAULT, supervisor)

    with pytest.raises(DefaultModelBroken, match="cannot be loaded: classifier"):
        supervisor.run_until(readiness.is_reached, 10)


@pytest.mark.parametrize("status", [fleet.READY, fleet.FAILED])
def test_what_other_machines_say_does_not_count(settings, supervisor, status):
    pid = start(supervisor, FOREVER)
    error = "broken" if status == fleet.FAILED else None
    say(settings, pid + 1, status=status, error=error)
    readiness = Readiness(settings, DEFAULT, supervisor)

    assert not readiness.is_reached()
    assert readiness.reason == "no worker has loaded the default model"


def test_loaded_model_is_not_enough_while_the_api_does_not_answer(settings, supervisor):
    pid = start(supervisor, FOREVER)
    say(settings, pid, status=fleet.READY)
    readiness = Readiness(settings, DEFAULT, supervisor)

    assert not readiness.is_reached()
    assert "cannot reach the service" in readiness.reason
