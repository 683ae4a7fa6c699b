"""Two API processes and two workers whose versions are swapped; clients that check every answer."""

import itertools
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import urllib3

from tests.e2e.load import new_text
from tests.models import LABELS, train
from tests.processes import (
    ROOT,
    ApiProcess,
    RedisServer,
    WorkerProcess,
    service_environment,
    side_by_side,
)
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

    def __init__(self, models_dir, held=("tiny-v1", "tiny-v2")):
        self.models_dir, self.held = models_dir, held
        self.redis = RedisServer()
        where = (self.redis.url, models_dir)
        self.workers = [WorkerProcess(*where, hostname=f"w{n}@test", env=ENV) for n in (1, 2)]
        closed = ENV | {"MLSERVE_ADMIN__TOKEN": TOKEN}
        self.apis = [ApiProcess(*where, env=closed) for _ in range(2)]
        self.http = urllib3.PoolManager(maxsize=8)

    @contextmanager
    def running(self):
        with self.redis, side_by_side(*self.workers, *self.apis):
            for api, ref in itertools.product((0, 1), self.held):
                eventually(partial(self.is_held, ref, api), 30)
            yield

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


def follows(stack, ref):
    """Both API processes go by `ref`, soon."""
    eventually(lambda: {stack.active(api) for api in (0, 1)} == {ref}, FOLLOWS_WITHIN_S)
