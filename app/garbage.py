"""Shared. Python's collector of reference cycles, set for a process that answers requests.

A full collection visits every object that the process holds: tens of milliseconds with the
libraries and models that are there for good, and nobody is answered meanwhile. `settle` takes
what is there out of its sight.
"""

import ctypes
import gc
import sys

# New containers before the youngest are looked at; the default, 700, is reached by every few
# requests.
THRESHOLD = 10_000


def settle(collect: bool = False) -> None:
    """Never visit again what the process holds now; `collect` first looks for cycles in all of it.

    Whatever nobody refers to any more is freed as before; only cycles are not found.
    """
    if collect:
        gc.unfreeze()
        gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD)


def give_back() -> None:
    """After something large was let go of: collect its cycles, return its memory to the system."""
    settle(collect=True)
    # glibc keeps what was freed for itself, which would look like a leak and count against limits.
    if trim := getattr(_libc(), "malloc_trim", None):
        trim(0)


def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None
