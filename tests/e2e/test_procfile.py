"""The lines of the Procfile, run by a shell as process managers do it, with a real Redis."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path

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


def test_web_and_worker_lines_answer_a_prediction_together(tmp_path):
    models_dir = tmp_path / "models"
    build_model(models_dir, "sentiment", "v1")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def is_ready():
        try:
            return urllib3.request("GET", f"{url}/health/ready", retries=False).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(tcp=True))
        env = service_environment(redis.url, models_dir, tmp_path)
        env |= {"PATH": path, "PORT": str(port)}
        for kind in ("web", "worker"):
            line = Line(kind, env)
            stack.callback(line.close)
            line.launch()
        eventually(is_ready, 60)
        answer = urllib3.request("POST", f"{url}/predict", json={"text": "great day"})

    assert answer.json()["label"] == "positive"
