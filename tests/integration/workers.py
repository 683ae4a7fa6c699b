"""Workers that also know the faulty tasks, what sends those, and Celery's own command line."""

import os
import subprocess
import sys
from pathlib import Path

from app.broker import make_celery
from app.contract import HostState
from app.fleet import read
from app.settings import Redis, Settings
from tests.processes import ROOT, RedisServer, WorkerProcess

FAULTS = "tests.integration.faults"


class FaultyWorker(WorkerProcess):
    """A worker that serves `tiny` and includes the tasks of tests/integration/faults.py."""

    def __init__(
        self,
        redis_url: str,
        models_dir: Path | str,
        *,
        args: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        hostname: str = "w1@test",
    ) -> None:
        super().__init__(
            redis_url,
            models_dir,
            hostname=hostname,
            args=("--include", FAULTS, *args),
            env={"MLSERVE_DEFAULT_MODEL": "tiny"} | (env or {}),
        )


class Sender:
    """Sends the faulty tasks by name."""

    def __init__(self, redis_url: str) -> None:
        self.settings = Settings(redis=Redis(url=redis_url))
        self.app = make_celery(self.settings, "cli")

    def send(self, name, *args, queue="predict.cpu"):
        """The pending result of `faults.<name>`."""
        return self.app.send_task(f"faults.{name}", args=args, queue=queue)

    def close(self) -> None:
        """Close all connections."""
        self.app.backend.client.connection_pool.disconnect()
        self.app.close()


def lone_host(redis: RedisServer) -> HostState:
    """What the only worker tells of itself."""
    with redis.client() as client:
        (state,) = read(client).hosts
        return state


def celery(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `celery -A tasks ...` as an operator would."""
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", "tasks", *args],
        cwd=ROOT,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        timeout=30,
    )
