"""CLI. `mlserve serve`: Redis, the workers and the API as one foreground command."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import click

from app import config
from app.broker import embedded_socket
from app.errors import INSTALL, RedisNotReady, StartRefused
from app.models import fatal_loads
from app.monitoring.counts.folding import fold
from app.tracing import provider
from cli import embedded_redis, preflight
from cli.client import service_url
from cli.lines import LinePrinter
from cli.metrics import empty_directory, serve_metrics
from cli.options import Call, verb
from cli.processes import REDIS, Processes, has_flower
from cli.readiness import Readiness
from cli.screen import ready_data, ready_screen
from cli.supervisor import Supervisor

OURSELVES = "mlserve"
REDIS_START_TIMEOUT_S = 20.0
REDIS_LEAVE_TIMEOUT_S = 5.0
COMPLAIN_EVERY_S = 20.0


@click.command()
@click.option(
    "--workers", type=click.IntRange(1, 256), help="Worker processes (default: one per core)."
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port of the API (default: server.port)."
)
@click.option("--flower", is_flag=True, help="Also start Flower on http://127.0.0.1:5555.")
@verb
def serve(call: Call, workers: int | None, port: int | None, flower: bool) -> None:
    """Start Redis, the workers and the API in the foreground.

    A Redis is started only where redis.url is not set. Ctrl-C stops everything, a second Ctrl-C
    kills it.
    """
    overrides = _overrides(workers, port)
    loaded = config.load(call.config_path, {**os.environ, **overrides})
    if flower and not has_flower():
        raise StartRefused(f"flower is not installed; {INSTALL} '.[flower]'")
    processes = Processes(loaded, overrides)
    with ExitStack() as stack:
        Service(processes, flower, call.as_json, stack).run()


class Service:
    """One run of `mlserve serve`; what it opens is closed by `stack`, last opened first."""

    def __init__(
        self, processes: Processes, with_flower: bool, as_json: bool, stack: ExitStack
    ) -> None:
        self._settings = processes.settings
        self._processes = processes
        self._as_json = as_json
        self._stack = stack
        self._started_at = time.monotonic()
        self._rest = [*processes.workers(with_flower), processes.web()]
        self._rest += [processes.flower()] if with_flower else []
        names = [OURSELVES, REDIS, *(spec.name for spec in self._rest)]
        # With --json standard output has one document and nothing else.
        is_json = self._settings.logging.format == "json"
        self._printer = LinePrinter(names, sys.stderr if as_json else sys.stdout, is_json)
        self._supervisor = Supervisor(self._printer, self._fold)

    def run(self) -> None:
        """Check, start, say when it is ready, and watch until asked to stop."""
        self._stack.callback(preflight.StateLock(self._settings).close)
        provider.check(self._settings)
        preflight.check_ports(self._settings)
        default = preflight.check_default_model(self._settings)
        self._stack.enter_context(_signals(self._supervisor))
        self._stack.callback(self._forget_fatal_loads)
        self._stack.callback(self._supervisor.stop)
        self._start_redis()
        self._start_metrics()
        for spec in self._rest:
            self._supervisor.start(spec)
        if self._is_ready(Readiness(self._settings, default, self._supervisor)):
            self._announce()
            self._supervisor.run_until(lambda: False)
        self._say("stopping")

    def _start_redis(self) -> None:
        if self._settings.redis.url is not None:
            preflight.check_redis(self._settings)
            return
        socket = str(embedded_socket(self._settings))
        # One whose supervisor was killed writes to the same files until it is gone.
        self._wait(
            lambda: not embedded_redis.answers(self._settings),
            REDIS_LEAVE_TIMEOUT_S,
            RedisNotReady(socket, "another Redis already listens there"),
        )
        self._supervisor.start(self._processes.redis())
        self._wait(
            lambda: bool(self._supervisor.ended) or embedded_redis.answers(self._settings),
            REDIS_START_TIMEOUT_S,
            RedisNotReady(socket, "its lines above say why"),
        )

    def _wait(self, condition: Callable[[], bool], timeout_s: float, otherwise: Exception) -> None:
        held = self._supervisor.run_until(condition, timeout_s)
        if not held and not self._supervisor.stop_requested:
            raise otherwise

    def _start_metrics(self) -> None:
        if self._settings.monitoring.enabled:
            empty_directory(self._processes.metrics_dir)
            self._stack.callback(serve_metrics(self._settings, self._processes.metrics_dir))

    def _is_ready(self, readiness: Readiness) -> bool:
        while not self._supervisor.run_until(readiness.is_reached, COMPLAIN_EVERY_S):
            if self._supervisor.stop_requested:
                return False
            self._say(f"not ready yet: {readiness.reason}")
        return True

    def _announce(self) -> None:
        took_s = time.monotonic() - self._started_at
        if self._as_json:
            click.echo(json.dumps(ready_data(self._settings, took_s)))
        elif self._settings.logging.format == "json":
            self._say(f"ready at {service_url(self._settings)} ({took_s:.1f} s)")
        else:
            self._printer.write(ready_screen(self._settings, took_s))

    def _forget_fatal_loads(self) -> None:
        # Whoever stops and starts it wants a new try. One that ends by itself, because a version
        # ended a worker before it was ready, comes up at last if it is started often enough.
        if self._supervisor.stop_requested:
            fatal_loads.forget(self._settings)

    def _say(self, line: str) -> None:
        self._printer(OURSELVES, line)

    def _fold(self, pid: int) -> None:
        # Soon, so that files do not pile up where nobody scrapes.
        if self._settings.monitoring.enabled:
            fold(self._processes.metrics_dir)


def _overrides(workers: int | None, port: int | None) -> dict[str, str]:
    chosen = {"MLSERVE_WORKER__PROCESSES": workers, "MLSERVE_SERVER__PORT": port}
    return {name: str(value) for name, value in chosen.items() if value is not None}


@contextmanager
def _signals(supervisor: Supervisor) -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.signal(n, lambda *_: supervisor.request_stop()) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
