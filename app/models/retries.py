"""Worker process. When a version that could not be loaded is tried again, although nothing changed.

A full table of open files, a network disk that is away, memory that another version still holds:
they pass, and nothing on disk tells of it.
"""

import errno
from collections.abc import Iterator

from app.errors import LoadEndedWorker, LoadTimedOut, MemoryLimitReached, ModelError

FIRST_S = 30.0
# An attempt may take `models.load_timeout_s`, and other versions wait for it.
MAX_S = 600.0
# What is refused without a try costs one look into a directory.
REFUSED_S = 60.0

# What the disk says of the files themselves: the version is tried again when they change.
LASTING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO})


def wait_after(error: ModelError, before_s: float | None = None) -> float | None:
    """In how many seconds another attempt may help; None where only a change on disk does.

    `before_s` is what was waited before this attempt, if anything.
    """
    if isinstance(error, LoadEndedWorker):
        return REFUSED_S
    if not any(map(_may_pass, _chain(error))):
        return None
    return FIRST_S if before_s is None else min(2 * before_s, MAX_S)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _may_pass(error: BaseException) -> bool:
    # Libraries raise OSError for contents, too; those have no number.
    if isinstance(error, OSError):
        return error.errno is not None and error.errno not in LASTING
    return isinstance(error, LoadTimedOut | MemoryLimitReached | MemoryError)
