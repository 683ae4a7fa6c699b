"""The lines of the Procfile, run by a shell as process managers do it, with a real Redis."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import urllib3
import yaml

from tests.models import build_model
from tests.ports import free_port
from tests.processes import ROOT, Process, RedisServer, service_environment
from tests.waiting import eventually

LINES = dict(yaml.safe_load((ROOT / "Procfile").read_text()))


class Line(Process):
    """One line of the Procfile."""

    name = "procfile"

    def __init__(self, kind, env):
        super().__init__(env)
        self.kind = kind

    def argv(self):
        return ["sh", "-c", f"exec {LINES[self.kind]}"]


def test_procfile_has_the_four_kinds_of_process():
    assert list(LINES) == ["web", "worker", "gpu-worker", "flower"]


def environment(redis_url, models_dir, state_dir, port):
    """That of all lines, with the programs of this Python in its path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = service_environment(redis_url, models_dir, state_dir)
    return env | {"PATH": path, "PORT": str(port)}


@pytest.fixture
def web(tmp_path):
    """The line of `web`, not started, without a Redis."""
    state_dir = tmp_path / "state"
    line = Line("web", environment("unix:///nonexistent.sock", tmp_path, state_dir, free_port()))
    yield line
    line.close()


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"MLSERVE_STATE_DIR": __file__}, "[Errno 20] Not a directory"),
        ({"MLSERVE_MAX_BATCH_SIZE": "0"}, "max_batch_size = '0'"),
    ],
    ids=["a state directory that is a file", "a wrong setting"],
)
def test_web_line_refuses_what_it_cannot_serve_with_in_a_sentence(env, words, web):
    web.env |= env

    status = web.launch().wait(30)

    assert status == 1
    assert f"mlserve: {words}" in web.logs()
    assert "Traceback" not in web.logs()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's death")
def test_nothing_of_the_web_line_outlives_its_main_process(web):
    def is_live():
        try:
            where = f"http://127.0.0.1:{web.env['PORT']}/health/live"
            return urllib3.request("GET", where, retries=False).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    web.launch()
    eventually(is_live, 60)
    started = psutil.Process(web.pid).children(recursive=True)

    web.kill()
    _, left = psutil.wait_procs(started, timeout=10)
    for process in left:
        process.kill()

    assert started
    assert left == []


def test_web_and_worker_lines_answer_a_prediction_together(tmp_path):
    models_dir = tmp_path / "models"
    build_model(models_dir, "sentiment", "v1")
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def is_ready():
        try:
            return urllib3.request("GET", f"{url}/health/ready", retries=False).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(tcp=True))
        env = environment(redis.url, models_dir, tmp_path, port)
        for kind in ("web", "worker"):
            line = Line(kind, env)
            stack.callback(line.close)
            line.launch()
        eventually(is_ready, 60)
        answer = urllib3.request("POST", f"{url}/predict", json={"text": "great day"})

    assert answer.json()["label"] == "positive"
