"""How `mlserve serve` ends, leaves nothing behind, and refuses to start."""

import signal
import socket
import subprocess

import psutil
import pytest

from tests.e2e.serving import Serve
from tests.waiting import eventually


def refused(serve):
    """Run `mlserve serve` that must not start; what it says."""
    try:
        done = subprocess.run(serve.argv(), capture_output=True, text=True, timeout=30)
        return done
    finally:
        serve.close()


def all_gone(processes):
    return all(not p.is_running() or p.status() == psutil.STATUS_ZOMBIE for p in processes)


def test_ctrl_c_ends_everything_within_10_s(trained):
    with Serve(trained) as serve:
        family = serve.family()
        serve.send(signal.SIGINT)

        assert serve.wait(10) == 0

    assert len(family) >= 4
    assert all_gone(family)


def test_killed_supervisor_leaves_nothing_and_the_next_start_is_ready_soon(trained):
    with Serve(trained) as serve:
        family = serve.family()
        serve.kill()
        eventually(lambda: all_gone(family), 10)

        # 4 s on two idle cores; the limit leaves room for a machine that does other work.
        serve.start(timeout_s=20)


def test_taken_port_is_refused_in_one_line(trained):
    serve = Serve(trained)
    with socket.create_server(("127.0.0.1", serve.port)):
        done = refused(serve)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: server.port = {serve.port}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"max_batch_size": 0}, "Error: max_batch_size = 0 (from config.yaml): "),
        ({"redis": {"url": "redis://127.0.0.1:1/0"}}, "Error: Redis does not answer at redis://"),
        ({"default_model": "mood"}, "Error: the default model cannot be loaded: model 'mood' does"),
    ],
    ids=["config", "redis", "model"],
)
def test_start_that_could_only_fail_is_refused_in_one_line(trained, changes, line):
    done = refused(Serve(trained, **changes))

    assert done.returncode == 1
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


def test_changed_artifact_of_the_default_model_is_refused(trained):
    serve = Serve(trained)
    artifact = serve.models_dir / "sentiment/v1/classifier.skops"
    artifact.write_bytes(artifact.read_bytes()[:-1] + b"x")

    done = refused(serve)

    assert done.returncode == 1
    assert "the default model cannot be loaded: " in done.stderr
    assert "classifier.skops" in done.stderr
