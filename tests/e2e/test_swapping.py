"""Versions swapped by HTTP, by `mlserve` and by `celery control` while predictions go on.

Real workers and API processes; every answer has to be that of the version which it names.
"""

import json
from functools import partial

import pytest

from tests.bad_versions import BAD
from tests.e2e.load import new_text
from tests.e2e.swapping import STRENGTHS, TOKEN, follows
from tests.models import build_model, edit_manifest
from tests.waiting import eventually


@pytest.mark.usefixtures("on_v1")
def test_swap_over_http_is_answered_with_at_once_and_followed_by_the_other(stack, trickle):
    status, told = stack.ask("POST", "/models/tiny/swap", {"version": "v2"})
    answered = stack.ask("POST", "/predict", {"text": new_text()})[1]["model_version"]

    assert (status, told["state"], told["previous_version"]) == (200, "done", "v1")
    assert {row["hostname"]: row["status"] for row in told["workers"]} == {
        "w1@test": "ready",
        "w2@test": "ready",
    }
    assert answered == "tiny-v2"
    follows(stack, "tiny-v2")
    eventually(lambda: trickle.seen[-1].version == "tiny-v2")


@pytest.mark.usefixtures("on_v1", "trickle")
def test_swap_and_rollback_by_command_line_need_no_token(stack):
    swapped = stack.run("mlserve", "swap", "tiny", "v2")
    follows(stack, "tiny-v2")
    back = stack.run("mlserve", "rollback", "tiny", "--json")
    follows(stack, "tiny-v1")

    assert swapped.returncode == 0, swapped.stderr
    assert swapped.stdout.splitlines()[:2] == ["w1@test: ready", "w2@test: ready"]
    assert json.loads(back.stdout)["model_version"] == "tiny-v1"


@pytest.mark.usefixtures("on_v1", "trickle")
def test_swap_by_celery_is_the_same_operation(stack):
    done = stack.run("celery", "-A", "tasks", "control", "swap_model", "tiny", "v2")

    assert done.returncode == 0, done.stderr
    eventually(lambda: stack.active() == "tiny-v2")
    follows(stack, "tiny-v2")
    told = stack.run("celery", "-A", "tasks", "inspect", "registry", "--json")
    assert '"tiny": "v2"' in told.stdout


@pytest.mark.usefixtures("on_v1", "trickle")
def test_version_that_no_worker_has_held_is_loaded_everywhere_first(stack):
    build_model(stack.models_dir, "tiny", "v3", strength=STRENGTHS["tiny-v3"])

    status, told = stack.ask("POST", "/models/tiny/swap", {"version": "v3"})
    answered = stack.ask("POST", "/predict", {"text": new_text()})[1]["model_version"]

    assert (status, told["state"]) == (200, "done")
    assert answered == "tiny-v3"
    follows(stack, "tiny-v3")


@pytest.mark.usefixtures("on_v1", "trickle")
def test_loaded_version_can_be_asked_for_and_let_go_of(stack, tmp_path):
    version = build_model(tmp_path, "tiny", "v4", strength=STRENGTHS["tiny-v4"])

    loaded = stack.run("mlserve", "load", str(version))
    eventually(lambda: stack.ask("GET", "/models/tiny-v4")[1]["status"] == "ready", 5)
    asked = {"text": new_text(), "model_version": "tiny-v4"}
    answered = stack.ask("POST", "/predict", asked)[1]["model_version"]
    gone = stack.ask("DELETE", "/models/tiny-v4")

    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.splitlines()[1:3] == ["w1@test: ready", "w2@test: ready"]
    assert (answered, stack.active()) == ("tiny-v4", "tiny-v1")
    assert gone == (204, None)
    eventually(lambda: stack.ask("GET", "/models/tiny-v4")[1]["status"] != "ready", 5)


@pytest.mark.usefixtures("on_v1", "trickle")
def test_version_that_cannot_be_loaded_fails_everywhere_and_changes_nothing(stack):
    broken = build_model(stack.models_dir, "tiny", "v9")
    edit_manifest(broken, libraries={"scikit-learn": "0.1.0"})

    status, problem = stack.ask("POST", "/models/tiny/swap", {"version": "v9"})
    typed = stack.run("mlserve", "swap", "tiny", "v9")
    listed = stack.run("mlserve", "list")

    assert (status, problem["code"]) == (424, "swap_failed")
    # The first one that fails ends it.
    assert set() != set(problem["errors"]) <= {"w1@test", "w2@test"}
    assert "0.1.0" in str(problem["errors"])
    assert typed.returncode == 1
    assert "@test: cannot hold it: " in typed.stdout
    assert "0.1.0" in listed.stdout
    assert stack.active() == "tiny-v1"
    model = stack.ask("GET", "/models/tiny-v9")[1]
    assert (model["status"], model["code"]) == ("failed", "library_mismatch")


@pytest.mark.usefixtures("on_v1", "trickle")
def test_no_kind_of_bad_version_costs_a_request(stack, tmp_path):
    told = {}
    for number, damage in enumerate(BAD):
        # As a whole, as every version comes: what is half written would be wrong in its own way.
        version = f"x{number}"
        (tmp_path / version / "tiny").mkdir(parents=True)
        damage(tmp_path / version, version)
        (tmp_path / version / "tiny" / version).rename(stack.models_dir / "tiny" / version)
        status, problem = stack.ask("POST", "/models/tiny/swap", {"version": version})
        reason = problem["detail"] + str(problem.get("errors", ""))
        expected = BAD[damage][1].replace("v3", version)
        told[damage] = (status >= 400, expected in reason, partial(stack.code_of, version))

    # The API looks at the disk once a second.
    for damage, (is_refused, is_explained, code) in told.items():
        assert (is_refused, is_explained) == (True, True), damage.__name__
        eventually(lambda code=code, damage=damage: code() == BAD[damage][0], 5)
    rows = json.loads(stack.run("mlserve", "list", "--json").stdout)["models"]
    listed = {row["ref"]: row["code"] for row in rows}
    metrics = stack.http.request("GET", f"{stack.apis[0].url}/metrics").data.decode()
    for number, (code, _) in enumerate(BAD.values()):
        assert listed[f"tiny-x{number}"] == code
        series = [line for line in metrics.splitlines() if f'version="x{number}"' in line]
        assert any(f'code="{code}"' in line for line in series)
    assert stack.active() == "tiny-v1"


def test_strangers_change_nothing(stack):
    before = stack.active()

    refused = [
        stack.ask("POST", "/models/tiny/swap", {"version": "v2"}, headers=headers)
        for headers in ({}, {"Authorization": "Bearer guess"}, {"X-Forwarded-For": "127.0.0.1"})
    ]

    assert [(status, problem["code"]) for status, problem in refused] == [
        (401, "token_refused")
    ] * 3
    assert stack.active() == before
    assert not any(TOKEN in process.logs(whole=True) for process in (*stack.apis, *stack.workers))
