"""Worker process. How many threads torch computes with, so that processes times threads are cores.

Everything else has one native thread, whatever the machine: what linear models compute is too short
to be shared out. A worker says how many before torch is imported, and again no more.
"""

import os
from contextlib import suppress
from typing import Final

from app.settings import Worker

# A worker is one core's worth of work: more native threads would only compete with other workers.
# Read when numpy, torch or tokenizers are imported; torch may be given more than one by `use`.
ONE_NATIVE_THREAD: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

_chosen: Final[dict[str, int]] = {}


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of(worker: Worker) -> int:
    """`worker.threads`, or what is left of the cores for each of `worker.processes`, one at least.

    Where that is not set there is a process for each core.
    """
    if worker.threads is not None:
        return worker.threads
    return max(1, cores() // (worker.processes or cores()))


def use(threads: int) -> None:
    """Have torch compute with so many threads, once it is imported."""
    _chosen["torch"] = threads


def limit_torch() -> None:
    """Called by what imports torch; without `use` torch is left as it is."""
    if threads := _chosen.get("torch"):
        import torch

        # Threads that are started later follow: each asks for the number at its first operation.
        torch.set_num_threads(threads)
        # Runs graphs in parallel, of which there are none. It can be set only once.
        with suppress(RuntimeError):
            torch.set_num_interop_threads(1)
