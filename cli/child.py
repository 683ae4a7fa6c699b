"""CLI. One run of one supervised process: its lines, its end, and the end of its whole group."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.parent import EndWithParent

MAX_LINE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Spec:
    """How a process is started and stopped.

    Stages are stopped one after the other, the highest first; `grace_s` is the time between
    SIGTERM and SIGKILL.
    """

    name: str
    argv: list[str]
    cwd: Path
    environ: Mapping[str, str]
    stage: int = 0
    grace_s: float = 3.0


class Child:
    """A running process in a group of its own, so that Ctrl-C reaches only the supervisor.

    Raises `OSError` where the program cannot be started.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.started_at = time.monotonic()
        self._rest = b""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        try:
            self._process = _spawn(spec, writer)
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        self._output = os.fdopen(reader, "rb", buffering=0)

    @property
    def pid(self) -> int:
        """Process id, and the id of its process group."""
        return self._process.pid

    @property
    def output_fd(self) -> int:
        """Where its lines come from; readable also when it has closed its output."""
        return self._output.fileno()

    @property
    def lived_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started_at

    def exit_status(self) -> str | None:
        """`exit code 1` or `SIGKILL`; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name

    def read_lines(self) -> Iterator[str]:
        """Complete lines that have arrived; raises `EOFError` once the output is closed."""
        data = self._output.read(MAX_LINE_BYTES)
        if data is None:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._rest and (not data or len(self._rest) > MAX_LINE_BYTES):
            lines, self._rest = [*lines, self._rest], b""
        yield from (line.decode(errors="replace").rstrip("\r") for line in lines)
        if not data:
            raise EOFError

    def ask_to_stop(self) -> None:
        """SIGTERM to the process itself: it knows how to stop what it started."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL to the process and everything that it started; returns when it is gone."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Close our end of its output."""
        self._output.close()


def _spawn(spec: Spec, output_fd: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        spec.argv,
        cwd=spec.cwd,
        env=dict(spec.environ),
        stdin=subprocess.DEVNULL,
        stdout=output_fd,
        stderr=subprocess.STDOUT,
        # Not a session of its own: Linux shares the cores out between sessions first, and processes
        # that hand work to each other then wait for their turn.
        process_group=0,
        preexec_fn=EndWithParent(os.getpid()),
    )
