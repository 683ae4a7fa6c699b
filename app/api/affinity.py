"""API process. Keeps the threads that share the interpreter's lock on one core.

Only one of them runs at a time. Spread over several cores, each turn wakes another core, which has
to fetch what the last one had at hand. The server's threads that need no lock stay where the system
puts them: they read and write beside the others.
"""

import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

# A name on this machine that goes with the process that holds it (Linux, unix(7): "abstract").
CLAIM = "\0mlserve-api-core-{}"
# The field of proc_pid_stat(5) with the core that a thread last ran on, counted behind its name.
PROCESSOR = 36
# What granian's threads that need no lock are called; another one of its threads holds it often.
WITHOUT_LOCK = "tokio-rt-worker"


class OneCore:
    """A core for one process, that no other one takes; `claim` is what cores are named there."""

    def __init__(self, claim: str = CLAIM) -> None:
        self._claim = claim
        self._claimed: socket.socket | None = None
        self._allowed: set[int] = set()

    def settle(self) -> None:
        """Keep the threads that there are, and those that they will start, on one core.

        Changes nothing where there is no lock or no choice: on systems other than Linux, with one
        core, and where other processes have them all.
        """
        if not _is_useful() or self._claimed is not None:
            return
        self._allowed = os.sched_getaffinity(0)
        if len(self._allowed) > 1 and (core := self._take()) is not None:
            _bind({core})

    def leave(self) -> None:
        """Let the threads go where they were allowed to be, and others have the core."""
        if self._claimed is not None:
            _bind(self._allowed)
            self._claimed.close()
            self._claimed = None

    def _take(self) -> int | None:
        cores, here = sorted(self._allowed), _core()
        # The system chose the one that this thread is on, knowing how busy the others are.
        for core in sorted(cores, key=lambda core: core < here):
            claimed = socket.socket(socket.AF_UNIX)
            with suppress(OSError):
                claimed.bind(self._claim.format(core))
                self._claimed = claimed
                return core
            claimed.close()
        return None


def _is_useful() -> bool:
    has_lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    return sys.platform == "linux" and has_lock


def _bind(cores: set[int]) -> None:
    # Twice: a thread that was not reached yet may have started another one meanwhile.
    for _ in range(2):
        for thread in Path("/proc/self/task").iterdir():
            _bind_one(thread, cores)


def _bind_one(thread: Path, cores: set[int]) -> None:
    # It may end meanwhile, and a sandbox may forbid it.
    with suppress(OSError):
        if (thread / "comm").read_text().strip() != WITHOUT_LOCK:
            os.sched_setaffinity(int(thread.name), cores)


def _core() -> int:
    try:
        stat = Path("/proc/thread-self/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[PROCESSOR])
