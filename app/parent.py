"""Shared. No process outlives the one that started it, however that one ends."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class EndWithParent:
    """Called in a new process: the kernel ends it when its parent dies.

    Without this a SIGKILL of the parent would leave its children behind. Linux only; elsewhere they
    have to be ended by hand in that case.
    """

    def __init__(self, parent_pid: int) -> None:
        self.parent_pid = parent_pid

    def __call__(self) -> None:
        """Ask for a SIGTERM at the parent's death, which may already have happened.

        The parent must have started it from its main thread: Linux means the thread.
        """
        if _libc is None:
            return
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != self.parent_pid:
            os._exit(1)
