"""Harness. Starts a contender, waits for its first real prediction, and stops it by process id."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Self

import psutil
import urllib3

from app.parent import EndWithParent
from benchmarks.contenders import HOST, Contender, Place, environ
from benchmarks.usage import Usage, snapshot

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 15.0
POLL_S = 0.1
FIRST_TEXT = "What a wonderful day!"


class StartFailed(Exception):
    """The contender did not answer a prediction in time, or ended; the argument says which."""


class Running(AbstractContextManager["Running"]):
    """A contender that answers on `url` until the block ends."""

    def __init__(self, contender: Contender, place: Place) -> None:
        self.contender = contender
        self.place = place
        self.url = f"http://{HOST}:{place.port}"
        self.log = place.home.with_suffix(".log")
        self._roots: dict[int, str] = {}
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._check_port()
        # An answer that the last run left in Redis must not be found by this one.
        shutil.rmtree(self.place.home, ignore_errors=True)
        self.place.home.mkdir(parents=True)
        try:
            self._start()
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def usage(self) -> Usage:
        """CPU seconds so far and resident memory of its processes."""
        return snapshot(self._roots, self.contender.roles)

    def stop(self) -> None:
        """SIGTERM to what was started, last first; SIGKILL to whatever of its tree is left."""
        tree = self._tree()
        for process in reversed(self._processes):
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
        _, alive = psutil.wait_procs(tree, timeout=1)
        for left in alive:
            with suppress(psutil.NoSuchProcess):
                left.kill()
        psutil.wait_procs(alive, timeout=STOP_TIMEOUT_S)
        for process in self._processes:
            process.wait()
        self._processes = []

    def _check_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self.place.port))
            except OSError as error:
                raise StartFailed(f"port {self.place.port}: {error.strerror}") from error

    def _start(self) -> None:
        variables = {**os.environ, **environ(self.place)}
        with self.log.open("wb") as log:
            for command in self.contender.commands(self.place):
                process = subprocess.Popen(
                    command.argv,
                    cwd=self.place.home,
                    env=variables,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=EndWithParent(os.getpid()),
                )
                self._processes.append(process)
                self._roots[process.pid] = command.role

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        with urllib3.PoolManager(retries=False, timeout=10.0) as http:
            while time.monotonic() < deadline:
                if any(process.poll() is not None for process in self._processes):
                    raise StartFailed(f"{self.contender.name} ended; see {self.log}")
                with suppress(urllib3.exceptions.HTTPError):
                    body = {"text": FIRST_TEXT}
                    if http.request("POST", f"{self.url}/predict", json=body).status == 200:
                        return
                time.sleep(POLL_S)
        raise StartFailed(f"{self.contender.name}: no answer; see {self.log}")

    def _tree(self) -> list[psutil.Process]:
        found = []
        for process in self._processes:
            with suppress(psutil.NoSuchProcess):
                root = psutil.Process(process.pid)
                found += [root, *root.children(recursive=True)]
        return found
