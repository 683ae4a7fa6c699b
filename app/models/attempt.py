"""Worker process. Attempts to load versions, within bounds of time and memory.

A load that hangs (a dead network disk, a file made to be slow) must not keep a worker from all
other changes, and one that does not fit must not end it: both become ordinary errors. One that ends
its process all the same must not do so for ever.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Generic, NamedTuple, TypeVar

import psutil

from app.errors import LoadTimedOut, MemoryLimitReached
from app.garbage import give_back
from app.models.catalog import Entry
from app.models.fatal_loads import FatalLoads

T = TypeVar("T")

# What a load needs at its peak: the bytes of the artifacts, and what is made of them.
PEAK_FACTOR = 2


class Bounds(NamedTuple):
    """What loading may take; `max_memory_bytes` is the resident memory of the whole process.

    With `fatal_loads`, a version that ended its process too often is refused.
    """

    max_memory_bytes: int | None = None
    timeout_s: float | None = None
    fatal_loads: FatalLoads | None = None


UNBOUNDED = Bounds()


class Attempt(Generic[T]):
    """A call in a thread of its own, whose result is not wanted any more after a while."""

    _result: T

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="load", daemon=True)
        self.thread.start()

    def result(self) -> T:
        """What the call returned or raised; after the end of `thread`."""
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            self._error = error


class Attempts:
    """Loads versions one after the other, each within the same bounds.

    Nobody can end a thread: a load that took too long goes on, and its result is dropped. Until it
    has ended no other of the same version is begun, so that at most one hangs for each.
    """

    def __init__(self, bounds: Bounds = UNBOUNDED) -> None:
        self._bounds = bounds
        # Threads only: an attempt whose result nobody waits for must not outlive its thread.
        self._late: dict[str, threading.Thread] = {}

    def run(self, entry: Entry, load: Callable[[], T]) -> T:
        """The result of `load`; `MemoryLimitReached` or `LoadTimedOut` where it takes too much.

        `LoadEndedWorker` where it ended its process too often.
        Before loading, the memory that `entry` needs is estimated from the size of its artifacts;
        after it, what the process holds is measured.
        """
        ref, timeout_s = str(entry.ref), self._bounds.timeout_s
        until = None if timeout_s is None else time.monotonic() + timeout_s
        self._wait_for(ref, self._late.get(ref), until)
        artifacts = entry.manifest.artifacts if entry.manifest else []
        self._check_memory(ref, PEAK_FACTOR * sum(artifact.size_bytes for artifact in artifacts))
        attempt = Attempt(partial(self._watched, entry, load))
        self._wait_for(ref, attempt.thread, until)
        loaded = attempt.result()
        self._check_memory(ref, 0)
        return loaded

    def hangs(self, ref: str) -> bool:
        """Whether an attempt that took too long still goes on."""
        thread = self._late.get(ref)
        return thread is not None and thread.is_alive()

    def _watched(self, entry: Entry, load: Callable[[], T]) -> T:
        # In the thread of the load: it is watched for as long as that lives.
        fatal_loads = self._bounds.fatal_loads
        if fatal_loads is None or entry.manifest is None:
            return load()
        with fatal_loads.watched(str(entry.ref), entry.manifest.digest):
            return load()

    def _wait_for(self, ref: str, thread: threading.Thread | None, until: float | None) -> None:
        if thread is None:
            return
        thread.join(None if until is None else max(0.0, until - time.monotonic()))
        if thread.is_alive():
            self._late[ref] = thread
            raise LoadTimedOut(ref, self._bounds.timeout_s)
        self._late.pop(ref, None)

    def _check_memory(self, ref: str, more_bytes: int) -> None:
        most = self._bounds.max_memory_bytes
        if most is None or resident_bytes() + more_bytes <= most:
            return
        # What was let go of before may still be counted.
        give_back()
        needed = resident_bytes() + more_bytes
        if needed > most:
            raise MemoryLimitReached(ref, needed >> 20, most >> 20)


def resident_bytes() -> int:
    """The resident memory of this process."""
    return int(psutil.Process().memory_info().rss)
