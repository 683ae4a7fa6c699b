"""Versions swapped by HTTP, by `mlserve` and by `celery control` while predictions go on.

Real workers and API processes; every answer has to be that of the version which it names.
"""

import itertools
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import urllib3

from tests.bad_versions import BAD
from tests.e2e.load import new_text
from tests.models import LABELS, activate, build_model, edit_manifest, train
from tests.processes import ROOT, ApiProcess, RedisServer, WorkerProcess, service_environment
from tests.waiting import eventually

BIN = Path(sys.executable).parent
TOKEN = "correct-horse-battery-staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
STRENGTHS = {"tiny-v1": 1.0, "tiny-v2": 10.0, "tiny-v3": 0.1, "tiny-v4": 3.0}
ENV = {"MLSERVE_DEFAULT_MODEL": "tiny"}
# An API process looks at the fleet every second; the rest is for a machine that does other work.
FOLLOWS_WITHIN_S = 3.0
THINK_S = 0.01
NO_RETRIES = urllib3.Retry(0, redirect=False)


class Answer(NamedTuple):
    """What one request got."""

    text: str
    status: int
    code: str
    version: str
    scores: list


class Stack:
    """Redis, two workers and two API processes over tiny-v1, which is active, and tiny-v2."""

    def __init__(self, models_dir):
        self.models_dir = models_dir
        self.redis = RedisServer()
        where = (self.redis.url, models_dir)
        self.workers = [WorkerProcess(*where, hostname=f"w{n}@test", env=ENV) for n in (1, 2)]
        closed = ENV | {"MLSERVE_ADMIN__TOKEN": TOKEN}
        self.apis = [ApiProcess(*where, env=closed) for _ in range(2)]
        self.http = urllib3.PoolManager(maxsize=8)

    def __enter__(self):
        self.redis.start()
        for process in (*self.workers, *self.apis):
            process.launch()
        for process in (*self.workers, *self.apis):
            process.wait_until_ready()
        for api, ref in itertools.product((0, 1), ("tiny-v1", "tiny-v2")):
            eventually(partial(self.is_held, ref, api), 30)
        return self

    def __exit__(self, *_):
        for process in (*self.apis, *self.workers, self.redis):
            process.close()

    def ask(self, method, path, body=None, api=0, headers=BEARER):
        """The status and the decoded answer of an API process."""
        answer = self.http.request(
            method, self.apis[api].url + path, json=body, headers=headers, retries=NO_RETRIES
        )
        return answer.status, json.loads(answer.data) if answer.data else None

    def is_held(self, ref, api=0):
        """Whether both workers hold a version, as far as an API process knows."""
        said = self.ask("GET", f"/models/{ref}", api=api)[1]["workers"]
        return [row["status"] for row in said] == ["ready", "ready"]

    def active(self, api=0):
        return self.ask("GET", "/models/tiny", api=api)[1]["ref"]

    def code_of(self, version):
        """Why no worker holds a version, or why it is not known."""
        return self.ask("GET", f"/models/tiny-{version}")[1]["code"]

    def run(self, *argv):
        """A command of this machine's operator; what it says."""
        env = service_environment(self.redis.url, self.models_dir, self.redis.directory) | ENV
        # The API is not where the settings of this command say: it is not waited for.
        env |= {"MLSERVE_SERVER__PORT": "1", "PATH": os.environ["PATH"]}
        return subprocess.run(
            [BIN / argv[0], *argv[1:]],
            env=os.environ | env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for ref in ("tiny-v1", "tiny-v2"):
        build_model(root, *ref.split("-"), strength=STRENGTHS[ref])
    activate(root, tiny="v1")
    with Stack(root) as stack:
        yield stack


class Trickle:
    """Clients of both API processes that ask by the bare name, one new text after another."""

    def __init__(self, stack):
        self.stack, self.seen, self._stop = stack, [], threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n % 2,)) for n in range(4)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        eventually(lambda: len(self.seen) > 20)
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, api):
        while not self._stop.wait(THINK_S):
            text = new_text()
            body = {"text": text, "top_k": len(LABELS), "model_version": "tiny"}
            status, answer = self.stack.ask("POST", "/predict", body, api)
            scores = {row["label"]: row["score"] for row in answer.get("scores", ())}
            row = [scores.get(label) for label in LABELS]
            version, code = answer.get("model_version", ""), answer.get("code", "")
            self.seen.append(Answer(text, status, code, version, row))

    def check(self):
        """No request failed, and each answer is that of the version which it names."""
        assert Counter((one.status, one.code) for one in self.seen) == {(200, ""): len(self.seen)}
        for ref in {one.version for one in self.seen}:
            answers = [one for one in self.seen if one.version == ref]
            expected = train(STRENGTHS[ref]).predict_proba([one.text for one in answers])
            for one, row in zip(answers, expected, strict=True):
                assert one.scores == pytest.approx(list(row), abs=1e-6)


@pytest.fixture
def trickle(stack):
    """Predictions while the test runs; all are checked at its end."""
    with Trickle(stack) as trickle:
        yield trickle
    trickle.check()


@pytest.fixture
def on_v1(stack):
    """tiny-v1 is active in both API processes."""
    stack.ask("POST", "/models/tiny/swap", {"version": "v1"})
    follows(stack, "tiny-v1")


def follows(stack, ref):
    """Both API processes go by `ref`, soon."""
    eventually(lambda: {stack.active(api) for api in (0, 1)} == {ref}, FOLLOWS_WITHIN_S)


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
