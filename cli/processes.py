"""CLI. The processes of `mlserve serve`: command lines, environment and order of stopping.

The Procfile has the same commands for production process managers.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import app
from app.config import CONFIG_VARIABLE, Loaded
from app.models.threads import ONE_NATIVE_THREAD, cores
from app.monitoring.counts.directory import MULTIPROC_VARIABLE, own_directory
from app.monitoring.port import SERVED_VARIABLE
from app.settings import Settings
from cli.child import Spec
from cli.embedded_redis import server_argv

REDIS, WORKER, WEB, FLOWER = "redis", "worker", "web", "flower"
# The server's own lines in the format of ours.
GRANIAN_LOGS = Path(app.__file__).parent / "api" / "granian.json"

# The API goes first, so that nobody is let in any more; Redis last, so that workers can finish.
# The graces add up to less than the 10 s in which everything must be gone.
STAGES = {REDIS: 0, WORKER: 1, WEB: 2, FLOWER: 2}
GRACE_S = {REDIS: 1.5, WORKER: 5.5, WEB: 2.0, FLOWER: 2.0}

# Requests that an API process takes beside those that it lets wait: it must take them to say no.
SPARE_REQUESTS = 4096
# Connections that wait to be accepted; the system may allow fewer.
BACKLOG = 4096

WORKER_VARIABLES = ONE_NATIVE_THREAD | {"MALLOC_ARENA_MAX": "2"}


class Processes:
    """Builds the specs of one `mlserve serve`; `overrides` are MLSERVE_* from its options."""

    def __init__(self, loaded: Loaded, overrides: Mapping[str, str]) -> None:
        self.settings = loaded.settings
        self.cwd = loaded.path.parent
        self.metrics_dir = own_directory(self.settings)
        self.environ = {**os.environ, **overrides, "PYTHONUNBUFFERED": "1"}
        if self.settings.monitoring.enabled:
            self.environ[MULTIPROC_VARIABLE] = str(self.metrics_dir)
            self.environ[SERVED_VARIABLE] = "1"
        if loaded.path.exists():
            self.environ[CONFIG_VARIABLE] = str(loaded.path)

    def redis(self) -> Spec:
        """The embedded Redis."""
        return self._spec(REDIS, REDIS, server_argv(self.settings))

    def workers(self, with_events: bool) -> list[Spec]:
        """A worker for each core, or as many as `worker.processes` says."""
        log = ["--loglevel", self.settings.logging.level]
        quiet = ["--without-gossip", "--without-mingle"]
        events = ["--task-events"] if with_events else []
        specs = []
        for i in range(1, worker_count(self.settings) + 1):
            argv = _python("celery", "--quiet", "-A", "tasks", "worker", "-n", f"cpu{i}@%h")
            specs.append(self._spec(f"{WORKER}.{i}", WORKER, [*argv, *quiet, *log, *events]))
        return specs

    def web(self) -> Spec:
        """The HTTP API."""
        server = self.settings.server
        argv = _python("granian", "--interface", "asgi", "--http", "1", "--no-ws")
        argv += ["--host", server.host, "--port", str(server.port)]
        argv += ["--workers", str(server.workers), "--backlog", str(BACKLOG)]
        # Where granian stopped at its own number, callers would wait for it unseen and unanswered.
        max_requests = self.settings.limits.max_queued_texts + SPARE_REQUESTS
        argv += ["--backpressure", str(max_requests)]
        argv += ["--respawn-failed-workers", "--respawn-interval", "0.5"]
        argv += ["--workers-kill-timeout", "2", "--log-level", "error"]
        argv += ["--log-config", str(GRANIAN_LOGS)]
        return self._spec(WEB, WEB, [*argv, "app.api.asgi:application"])

    def flower(self) -> Spec:
        """Flower on loopback."""
        argv = _python("celery", "-A", "tasks", "flower", "--address=127.0.0.1")
        spec = self._spec(FLOWER, FLOWER, [*argv, "--logging=warning"])
        # Its metrics have labels without a bound, and are not ours.
        environ = {name: at for name, at in spec.environ.items() if name != MULTIPROC_VARIABLE}
        return replace(spec, environ=environ)

    def _spec(self, name: str, kind: str, argv: list[str]) -> Spec:
        environ = self.environ | (WORKER_VARIABLES if kind == WORKER else {})
        return Spec(name, argv, self.cwd, environ, STAGES[kind], GRACE_S[kind])


def worker_count(settings: Settings) -> int:
    """`worker.processes`, or one for each core that this process may use."""
    if settings.worker.processes is not None:
        return settings.worker.processes
    return cores()


def has_flower() -> bool:
    """Whether Flower is installed (the extra `flower`)."""
    return find_spec("flower") is not None


def _python(module: str, *args: str) -> list[str]:
    return [sys.executable, "-m", module, *args]
