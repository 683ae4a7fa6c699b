"""Processes that die while they load a version, or are still at it."""

import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager

PROGRAM = """
import sys
from pathlib import Path
from app.models.fatal_loads import FatalLoads

directory, ref, digest = sys.argv[1:]
with FatalLoads(Path(directory)).watched(ref, digest):
    print("loading", flush=True)
    sys.stdin.read()
"""


@contextmanager
def loading(directory, ref, digest, number=1):
    """So many processes that have begun to load a version; they are killed at the end."""
    argv = [sys.executable, "-c", PROGRAM, str(directory), ref, digest]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with ExitStack() as stack:
        found = [stack.enter_context(subprocess.Popen(argv, **pipes)) for _ in range(number)]
        try:
            assert [process.stdout.readline() for process in found] == ["loading\n"] * number
            yield
        finally:
            for process in found:
                process.send_signal(signal.SIGKILL)


def die(directory, ref, digest, times=1):
    """A process that loads the version dies, and so does the next one."""
    for _ in range(times):
        with loading(directory, ref, digest):
            pass
