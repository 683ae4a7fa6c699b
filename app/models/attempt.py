"""Worker process. One attempt to load a version, within bounds of time and memory.

A load that hangs (a dead network disk, a file made to be slow) must not keep a worker from all
other changes, and one that does not fit must not end it: both become ordinary errors.
"""

import threading
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import psutil

from app.errors import LoadTimedOut, MemoryLimitReached
from app.models.catalog import Entry

T = TypeVar("T")

# What a load needs at its peak: the bytes of the artifacts, and what is made of them.
PEAK_FACTOR = 2


class Bounds(NamedTuple):
    """What loading may take; `max_memory_bytes` is the resident memory of the whole process."""

    max_memory_bytes: int | None = None
    timeout_s: float | None = None


UNBOUNDED = Bounds()


class Attempt(Generic[T]):
    """A call in a thread of its own, whose result is not wanted any more after a while."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._result: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def wait(self, timeout_s: float | None) -> T | None:
        """What the call returned or raised; None when it has not ended in time."""
        self._thread.start()
        self._thread.join(timeout_s)
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            self._error = error


def attempt(entry: Entry, bounds: Bounds, load: Callable[[], T]) -> T:
    """The result of `load`; `MemoryLimitReached` or `LoadTimedOut` where it takes too much.

    Before loading, the memory that `entry` needs is estimated from the size of its artifacts; after
    it, what the process holds is measured. Nobody can end a thread: one that took too long goes on,
    and its result is dropped.
    """
    ref = str(entry.ref)
    manifest = entry.manifest
    size_bytes = sum(artifact.size_bytes for artifact in manifest.artifacts) if manifest else 0
    _check_memory(ref, resident_bytes() + PEAK_FACTOR * size_bytes, bounds)
    loaded = Attempt(load).wait(bounds.timeout_s)
    if loaded is None:
        raise LoadTimedOut(ref, bounds.timeout_s)
    _check_memory(ref, resident_bytes(), bounds)
    return loaded


def resident_bytes() -> int:
    """The resident memory of this process."""
    return int(psutil.Process().memory_info().rss)


def _check_memory(ref: str, needed_bytes: int, bounds: Bounds) -> None:
    most = bounds.max_memory_bytes
    if most is not None and needed_bytes > most:
        raise MemoryLimitReached(ref, needed_bytes >> 20, most >> 20)
