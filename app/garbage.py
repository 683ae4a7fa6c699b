"""Shared. Python's collector of reference cycles, set for a process that answers requests.

A full collection visits every object that the process holds: tens of milliseconds with the
libraries and models that are there for good, and nobody is answered meanwhile. `settle` takes
what is there out of its sight.
"""

import ctypes
import gc
import sys
from collections.abc import Mapping

# New containers before the youngest are looked at; the default, 700, is reached by every few
# requests. Predictions leave no cycles, but what Flask answers does: to free 25,000 of them takes
# 10 to 35 ms, in which nobody is answered.
MIN_THRESHOLD = 5_000
# In a flood the youngest are requests that wait, visited in vain: a fifth of the process's time.
# So each look that finds next to nothing doubles the time to the next one, up to this.
MAX_THRESHOLD = 80_000
# A look that frees so large a share of `MIN_THRESHOLD` was worth it.
MIN_SHARE = 0.2
# Looks at the youngest for one at those that have survived, which are no others in a flood.
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
    _look_after(MIN_THRESHOLD)
    if _adapt not in gc.callbacks:
        gc.callbacks.append(_adapt)


def _look_after(containers: int) -> None:
    gc.set_threshold(containers, SURVIVORS_EVERY, OLDEST_EVERY)


def _adapt(phase: str, found: Mapping[str, int]) -> None:
    """The interpreter's call before and after each look."""
    if phase != "stop":
        return
    if found["collected"] >= MIN_SHARE * MIN_THRESHOLD:
        _look_after(MIN_THRESHOLD)
    else:
        _look_after(min(2 * gc.get_threshold()[0], MAX_THRESHOLD))


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
