"""Shared. Python's collector of reference cycles, set for a process that answers requests.

A full collection visits every object that the process holds: tens of milliseconds with the
libraries and models that are there for good, and nobody is answered meanwhile. `settle` takes
what is there out of its sight.
"""

import ctypes
import gc
import sys

# New containers before the youngest are looked at; the default, 700, is reached by every few
# requests. Predictions leave no cycles, but what Flask answers does: to free 25,000 of them takes
# 10 to 35 ms, in which nobody is answered.
THRESHOLD = 5_000
# Looks at the youngest for one at those that have survived. In a flood these are requests that
# wait, visited in vain.
SURVIVORS_EVERY = 50
OLDEST_EVERY = 10


def settle(collect: bool = False) -> None:
    """Look for cycles among what is new, then never visit again what the process holds now.

    `collect` looks among all that it holds, which takes half a second in a worker. Whatever nobody
    refers to any more is freed in every case; only cycles are not found.
    """
    if collect:
        gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD, SURVIVORS_EVERY, OLDEST_EVERY)


def give_back() -> None:
    """After something large was let go of: return its memory to the system, in milliseconds.

    Models are freed without the collector's help: the memory of a worker that loads and drops the
    three samples in turns is the same with and without a look at everything.
    """
    settle()
    # glibc keeps what was freed for itself, which would look like a leak and count against limits.
    if trim := getattr(_libc(), "malloc_trim", None):
        trim(0)


def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None
