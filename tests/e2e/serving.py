"""`mlserve serve` as a process, and requests to it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import urllib3
import yaml

from tests.ports import free_port
from tests.processes import Process

MLSERVE = str(Path(sys.executable).parent / "mlserve")
JSON = {"Content-Type": "application/json"}


class Serve(Process):
    """`mlserve serve` with its own ports, state and models."""

    name = "serve"

    def __init__(self, trained, workers=1, **changes):
        super().__init__()
        self.port, self.metrics_port = free_port(), free_port()
        self.models_dir = self.directory / "models"
        shutil.copytree(trained, self.models_dir)
        settings = {
            "models_dir": "models",
            "state_dir": "state",
            "server": {"port": self.port, "threads": 16},
            "worker": {"processes": workers},
            "monitoring": {"port": self.metrics_port},
        }
        self.config = self.directory / "config.yaml"
        self.config.write_text(yaml.safe_dump(settings | changes))
        self.url = f"http://127.0.0.1:{self.port}"

    def argv(self):
        return [MLSERVE, "serve", "--config", str(self.config)]

    def is_ready(self):
        return "mlserve is ready" in self.logs()

    def run(self, *args):
        """One verb, as a user calls it in another terminal."""
        argv = [MLSERVE, "--config", str(self.config), *args]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd="/")

    def post(self, path, body):
        return post(self.url + path, json.dumps(body))

    def workers(self):
        """Process id by host name, as the service sees its workers."""
        rows = urllib3.request("GET", f"{self.url}/stats", timeout=10).json()["workers"]
        return {row["hostname"]: row["pid"] for row in rows}

    def family(self):
        return psutil.Process(self.pid).children(recursive=True)


def post(url, body):
    """The decoded answer of the service, whatever its status."""
    return urllib3.request("POST", url, body=body, headers=JSON, timeout=10).json()
