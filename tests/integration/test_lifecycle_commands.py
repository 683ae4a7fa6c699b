"""Swaps with Celery's own tools, and loads that would hang a worker or fill its memory."""

import json
import os
import subprocess
import sys

import joblib
import pytest

from app.broker import make_celery
from app.errors import SwapFailed
from app.models.base import Artifact, Ref
from app.settings import Redis, Settings
from tests.bad_versions import Blocked
from tests.integration.machines import LOAD_TIMEOUT_S, MAX_MEMORY_MB
from tests.models import edit_manifest
from tests.processes import ROOT
from tests.waiting import eventually


@pytest.fixture
def celery(machines):
    """`celery -A tasks ...` as an operator runs it: exit status, and what it wrote."""

    def run(*args):
        return subprocess.run(
            [sys.executable, "-m", "celery", "-A", "tasks", *args],
            cwd=ROOT,
            env=os.environ | machines[0].worker.env,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def outcomes(celery, hostname="w1@fleet"):
    told = json.loads(celery("inspect", "registry", "--json").stdout)[hostname]
    return [row["outcome"] for row in told["requests"]]


def test_commands_are_listed_with_what_they_need_and_do(celery):
    control, inspect = celery("control", "--list").stdout, celery("inspect", "--list").stdout

    assert "swap_model NAME VERSION" in control
    assert "load_model NAME-VERSION" in control
    assert "unload_model NAME-VERSION" in control
    assert "Make VERSION the active one of NAME" in control
    assert "Model versions that this worker holds" in " ".join(inspect.split())
    assert "What should serve, what is on its way" in " ".join(inspect.split())


def test_swap_by_celerys_own_tool_is_carried_out_and_told(celery, operator, name):
    operator.add(name, "v1", "v2")

    answer = celery("control", "swap_model", name, "v2")

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count(f"swap to {name}-v2: asked for") == 2
    eventually(lambda: operator.desired().active[name] == "v2")
    first = eventually(lambda: [text for text in outcomes(celery) if text.startswith("rollout ")])
    assert operator.rollouts.progress(first[-1].removeprefix("rollout ")).state == "done"


def test_registry_and_models_tell_what_serves_and_what_is_held(celery, operator, name):
    operator.add(name, "v1")

    told = json.loads(celery("inspect", "registry", "--json").stdout)["w2@fleet"]
    held = json.loads(celery("inspect", "models", "--json").stdout)["w2@fleet"]

    assert told["desired"]["active"][name] == "v1"
    assert told["generation"]["reached"] == told["generation"]["desired"]
    assert told["max_memory_mb"] == MAX_MEMORY_MB
    (row,) = [row for row in held if row["ref"] == f"{name}-v1"]
    assert (row["status"], row["error"]) == ("ready", None)


def test_load_and_unload_by_celerys_own_tool(celery, operator, machines, name):
    operator.add(name, "v1")
    for machine in machines:
        machine.add(name, "v2")

    celery("control", "load_model", f"{name}-v2")
    eventually(lambda: operator.statuses(f"{name}-v2") == ["ready", "ready"])
    celery("control", "unload_model", f"{name}-v2", "-d", "w1@fleet")

    eventually(lambda: f"{name}-v2" in operator.desired().unloaded)
    eventually(lambda: operator.held(f"{name}-v2") == {}, timeout_s=20)
    assert operator.desired().active[name] == "v1"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("swap_model", "../tiny", "v1"), "must match"),
        (("swap_model", "tiny"), "missing 1 required positional argument"),
        (("load_model", "tiny"), "must match"),
    ],
)
def test_command_that_cannot_be_meant_is_answered_with_an_error(celery, machines, command, said):
    answer = celery("control", *command, "-d", "w1@fleet")

    assert said in answer.stdout + answer.stderr


def test_command_that_is_refused_later_is_told_by_the_registry(celery, operator, name):
    celery("control", "unload_model", "tiny-v1", "-d", "w2@fleet")
    celery("control", "swap_model", name, "v9", "-d", "w2@fleet")

    told = eventually(
        lambda: [t for t in outcomes(celery, "w2@fleet") if f"{name}-v9" in t], timeout_s=20
    )
    assert told[0].startswith(f"refused: model '{name}-v9' does not exist")
    assert "refused: tiny-v1 is active; swap to another version first" in (
        outcomes(celery, "w2@fleet")
    )


# A worker that lags behind a whole swap may carry out the one before when the next is asked for.
@pytest.mark.alone
def test_broadcast_swaps_that_alternate_end_with_the_last_one(operator, name):
    operator.add(name, "v1", "v2")
    with make_celery(Settings(redis=Redis(url=operator.machines[0].redis.url)), "cli") as app:
        for number in range(6):
            version = ("v2", "v1")[number % 2]
            app.control.broadcast("swap_model", arguments={"name": name, "version": version})
            eventually(lambda version=version: operator.desired().active[name] == version)

        assert operator.desired().active[name] == "v1"
        eventually(lambda: operator.desired().rollouts == {})
        assert operator.desired().active[name] == "v1"
        # Nobody acknowledges a control message: it must not be kept as if somebody would.
        assert operator.client.hgetall("unacked") == {}


def test_load_that_hangs_is_given_up_and_other_swaps_go_on(operator, machines, name, tmp_path):
    operator.add(name, "v1", "v2")
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    joblib.dump(Blocked(pipe), tmp_path / "model.joblib")
    content = (tmp_path / "model.joblib").read_bytes()
    for machine in machines:
        machine.add(name, "v3", files={"model.joblib": content}, format="joblib")

    try:
        with pytest.raises(SwapFailed) as caught:
            operator.rollouts.wait(operator.rollouts.swap(Ref(name, "v3")), 60)
        # On one of the two the load may still hang, within its time.
        operator.rollouts.wait(operator.rollouts.swap(Ref(name, "v2")), 60)
    finally:
        writers = [os.open(pipe, os.O_RDWR) for _ in machines]
        for writer in writers:
            os.close(writer)

    said = f"{name}-v3 was not loaded within models.load_timeout_s = {LOAD_TIMEOUT_S}"
    assert {reason for (reason,) in caught.value.errors.values()} == {said}
    assert operator.desired().active[name] == "v2"
    assert operator.predict(f"{name}-v2")


def test_version_that_cannot_fit_is_refused_with_the_sizes(operator, machines, name):
    operator.add(name, "v1")
    large = Artifact(file="model.skops", sha256="0" * 64, size_bytes=MAX_MEMORY_MB << 19)
    for machine in machines:
        edit_manifest(machine.add(name, "v2"), artifacts=[large])

    with pytest.raises(SwapFailed) as caught:
        operator.rollouts.wait(operator.rollouts.swap(Ref(name, "v2")), 60)

    (reason, *_) = (reason for (reason,) in caught.value.errors.values())
    assert reason.startswith(f"{name}-v2 needs a process of ")
    assert reason.endswith(f"worker.max_memory_mb is {MAX_MEMORY_MB}")
    assert operator.predict(f"{name}-v1")
