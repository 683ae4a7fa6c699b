"""Contenders are configured, started, checked and stopped as the harness says."""

import socket
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from app.settings import Settings
from benchmarks.checking import difference
from benchmarks.contenders import CONTENDERS, EMPTY, Command, Contender, Place, merged
from benchmarks.plan import parse
from benchmarks.running import Running, StartFailed
from benchmarks.scenarios import max_queued_texts, overload_connections
from tests.waiting import eventually

SERVER = """
import http.server, subprocess, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200)
        self.end_headers()
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", child])
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def place(home: Path, port: int = 18990, **settings: Any) -> Place:
    return Place(Path(sys.executable), port, home, home / "models", "sentiment-v1", settings)


@pytest.mark.parametrize("contender", [*CONTENDERS.values(), *EMPTY.values()], ids=lambda c: c.name)
def test_every_contender_listens_on_loopback_at_its_port(
    contender: Contender, tmp_path: Path
) -> None:
    commands = contender.commands(place(tmp_path, port=18123))

    config = tmp_path / "config.yaml"
    said = " ".join(part for command in commands for part in command.argv)
    said += config.read_text(encoding="utf-8") if config.exists() else ""
    assert "18123" in said
    assert "0.0.0.0" not in said  # noqa: S104 - it must not be there


def test_settings_of_a_run_go_over_those_of_the_harness(tmp_path: Path) -> None:
    CONTENDERS["mlserve"].commands(place(tmp_path, server={"workers": 2}, max_batch_size=64))

    config = yaml.safe_load((tmp_path / "config.yaml").read_text(encoding="utf-8"))
    assert config["server"] == {"port": 18990, "workers": 2}
    assert (config["max_batch_size"], config["default_model"]) == (64, "sentiment-v1")


def test_merging_changes_neither_side() -> None:
    base, over = {"a": {"b": 1, "c": 2}}, {"a": {"b": 3}, "d": {"e": 4}}

    assert merged(base, over) == {"a": {"b": 3, "c": 2}, "d": {"e": 4}}
    assert (base, over) == ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}, "d": {"e": 4}})


def test_stopping_ends_the_whole_tree_of_a_contender(tmp_path: Path) -> None:
    def commands(at: Place) -> list[Command]:
        return [Command("server", [sys.executable, "-c", SERVER, str(at.port)])]

    with Running(Contender("fake", "", commands), place(tmp_path / "fake")) as running:
        eventually(lambda: len(running.usage().processes) == 2)
        found = running.usage().processes
        started = [psutil.Process(pid) for pid, _ in found]

    assert {process.role for process in found.values()} == {"server"}
    assert not [process for process in started if process.is_running()]


def test_contender_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    def commands(_: Place) -> list[Command]:
        return [Command("server", [sys.executable, "-c", "print('why'); raise SystemExit(3)"])]

    with (
        pytest.raises(StartFailed, match=r"fake\.log"),
        Running(Contender("fake", "", commands), place(tmp_path / "fake")),
    ):
        pass

    assert (tmp_path / "fake.log").read_text(encoding="utf-8") == "why\n"


def test_server_of_somebody_else_is_never_measured(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = place(tmp_path / "fake", port=taken.getsockname()[1])

        with pytest.raises(StartFailed, match="in use"), Running(CONTENDERS["flask"], at):
            pass


EXPECTED = {"label": "positive", "confidence": 0.75}


@pytest.mark.parametrize(
    ("status", "answer", "problem"),
    [
        (200, {"label": "positive", "confidence": 0.75 + 5e-7, "latency_ms": 1}, None),
        (200, {"label": "positive", "confidence": 0.75 + 5e-6}, "probability"),
        (200, {"label": "positive", "confidence": float("nan")}, "probability"),
        (200, {"label": "negative", "confidence": 0.75}, "label"),
        (200, ["positive"], "status"),
        (503, None, "status 503"),
    ],
)
def test_answer_is_compared_with_the_bare_loop(
    status: int, answer: Any, problem: str | None
) -> None:
    found = difference(status, answer, EXPECTED)

    assert found is None if problem is None else found is not None and found.startswith(problem)


def test_plan_of_a_quick_run_can_be_overridden() -> None:
    plan = parse(["--quick", "--contenders", "mlserve,bare", "--rounds", "2"])

    assert (plan.contenders, plan.rounds, plan.seconds) == (["mlserve", "bare"], 2, 2)
    assert plan.connections == [1, 64]


@pytest.mark.parametrize(
    ("peak", "most", "connections"), [(9000.0, 4096, 4096 + 2048), (400.0, 4096, 2000 + 100)]
)
def test_overload_has_connections_for_all_that_may_wait_and_some_more(
    peak: float, most: int, connections: int
) -> None:
    assert overload_connections(peak, most) == connections


def test_as_many_may_wait_as_the_service_is_set_to(tmp_path: Path) -> None:
    shorter = place(tmp_path, limits={"max_queued_texts": 1024})

    assert max_queued_texts(shorter) == 1024
    assert max_queued_texts(place(tmp_path)) == Settings().limits.max_queued_texts


def test_settings_are_read_as_yaml_by_their_dotted_keys() -> None:
    plan = parse(["--set", "server.workers=2", "--set", "server.threads=32", "--extras", ""])

    assert plan.settings == {"server": {"workers": 2, "threads": 32}}
    assert plan.extras == []


@pytest.mark.parametrize("argv", [["--contenders", "nobody"], ["--set", "server.workers"]])
def test_wrong_options_are_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(argv)

    assert "nobody" in (said := capsys.readouterr().err) or "key=value" in said
