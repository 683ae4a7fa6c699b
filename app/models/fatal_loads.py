"""Worker process. Loads that ended their process, remembered on disk.

A native library that crashes, or memory that the system takes back, ends a process at once: nothing
in it can tell of that, and the next one would load the same. So every load under way has a file
whose lock the kernel drops with the process. A lock that can be taken is that of a load that ended
its process, whatever has its pid by now, and in whichever container it was.
"""

import fcntl
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from app.errors import LoadEndedWorker
from app.settings import Settings

logger = logging.getLogger(__name__)

LOADS_DIR = "loads"
# One end may be chance, as somebody's SIGKILL is, and two may be memory that others have taken.
MAX_ENDS = 3
# What others have taken they may give back; meanwhile the worker serves all other versions.
REFUSED_S = 3600.0
# So long one more end is enough to be refused again: after a day it is a version as any other.
KEPT_S = 24 * 3600.0
DIGEST_CHARS = 16
NAME = re.compile(rf"([^.].*)\.([0-9a-f]{{{DIGEST_CHARS}}})\.(\d+)\.[0-9a-f]{{32}}")


class Left(NamedTuple):
    """What is left of a load that was begun at `at`, and was the `ends`-th to end its process.

    It was begun after the one before had ended. So workers that are killed all at once, with their
    machine or container, count as one end.
    """

    path: Path
    ref: str
    digest: str
    ends: int
    at: float


class FatalLoads:
    """The memory of all processes with the same `directory`; without it, loads go on as well."""

    def __init__(self, directory: Path, now: Callable[[], float] = time.time) -> None:
        self._directory, self._now = directory, now
        self._under_way: set[Path] = set()
        self._is_leaving = self._has_told = False

    @contextmanager
    def watched(self, ref: str, digest: str) -> Iterator[None]:
        """Around a load; `LoadEndedWorker` in place of one that ended its process too often."""
        digest = digest[:DIGEST_CHARS]
        left = self._left_by(ref, digest)
        ends = max((one.ends for one in left), default=0)
        refused_until = max((one.at for one in left), default=0.0) + REFUSED_S
        if ends >= MAX_ENDS and self._now() < refused_until:
            raise LoadEndedWorker(ref, ends, time.strftime("%H:%M", time.gmtime(refused_until)))
        with self._marked(f"{ref}.{digest}.{ends + 1}.{uuid.uuid4().hex}"):
            yield
        for one in left:
            _remove(one.path)

    def leave(self) -> None:
        """This process was asked to end: no load is to blame. A signal handler may call it."""
        self._is_leaving = True
        for path in list(self._under_way):
            _remove(path)

    def _left_by(self, ref: str, digest: str) -> list[Left]:
        """What is left of this version's loads; what is out of date is removed."""
        found = []
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Not our own: over NFS, to close a file that one has locked drops the lock.
            others = set(self._directory.iterdir()) - self._under_way
            left = [one for path in others if (one := _read(path))]
        except OSError as error:
            self._tell(error)
            return []
        for one in left:
            # Both ways: a clock that was set back would keep it for ever.
            is_old = abs(self._now() - one.at) > KEPT_S
            if (one.ref, one.digest) == (ref, digest) and not is_old:
                found.append(one)
            elif one.ref == ref or is_old:
                _remove(one.path)
        return found

    @contextmanager
    def _marked(self, name: str) -> Iterator[None]:
        path = self._directory / name
        # Before there is a file, which a signal between the two would leave.
        self._under_way.add(path)
        try:
            descriptor = _make(path)
        except OSError as error:
            self._under_way.discard(path)
            self._tell(error)
            yield
            return
        if self._is_leaving:
            _remove(path)
        try:
            yield
        finally:
            # Before its lock is given up, or it would look like one that is left.
            _remove(path)
            self._under_way.discard(path)
            os.close(descriptor)

    def _tell(self, error: OSError) -> None:
        if not self._has_told:
            logger.warning("fatal loads are not remembered", extra={"cause": str(error)})
        self._has_told = True


def directory_of(settings: Settings) -> Path:
    """The one below `state_dir`; absolute, for a process may change where it is."""
    return Path(settings.state_dir).absolute() / LOADS_DIR


def forget(settings: Settings) -> None:
    """Have every version tried again."""
    shutil.rmtree(directory_of(settings), ignore_errors=True)


def _make(path: Path) -> int:
    """The descriptor of a new file that nobody else sees before it is locked."""
    unnamed = path.with_name(f".{path.name}")
    descriptor = os.open(unnamed, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.rename(path)
    except OSError:
        os.close(descriptor)
        _remove(unnamed)
        raise
    return descriptor


def _read(path: Path) -> Left | None:
    """None where the load is under way or has come to an end, and for any other file."""
    named = NAME.fullmatch(path.name)
    if named is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        # Shared: two who look at once do not take each other for its process.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        status = os.fstat(descriptor)
    except BlockingIOError:
        return None
    finally:
        os.close(descriptor)
    if status.st_nlink == 0:
        return None
    return Left(path, named[1], named[2], int(named[3]), status.st_mtime)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
