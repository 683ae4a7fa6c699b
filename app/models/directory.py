"""Shared. The models directory: <name>/<version>/, and a file that says what the names stand for.

What is missing, or may not be read, is left out. Any other `OSError` is raised, such as that of a
process without file descriptors: it says nothing of what is there.
"""

import os
from pathlib import Path

import msgspec

from app.models.base import Ref

ACTIVE_FILE = "active.json"
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)


def versions(root: Path) -> list[Path]:
    """The directories of all versions, by ref."""
    names = _directories(root)
    found = [version for name in names for version in _directories(name)]
    return sorted(path for path in found if not path.name.startswith("__"))


def stamp(file: Path) -> tuple[int, int]:
    """Changes when the file does."""
    try:
        status = file.stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


def read_active(root: Path) -> dict[str, str]:
    """The active version by model name; empty where the file is missing or unreadable."""
    try:
        return msgspec.json.decode((root / ACTIVE_FILE).read_bytes(), type=dict[str, str])
    except (*ABSENT, ValueError):
        return {}


def keep_name_resolvable(root: Path, added: Ref) -> None:
    """After a version was added: write down what the bare name stands for, if nothing says so yet.

    The first version of a name becomes its active one; a later one never does by itself.
    """
    active = read_active(root)
    before = {path.name for path in versions(root) if path.parent.name == added.name}
    before.discard(added.version)
    if added.name in active or len(before) > 1:
        return
    active[added.name] = before.pop() if before else added.version
    staged = root / f".{ACTIVE_FILE}-{os.getpid()}"
    staged.write_bytes(msgspec.json.format(msgspec.json.encode(active)) + b"\n")
    os.replace(staged, root / ACTIVE_FILE)


def _directories(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as found:
            # A dot marks what is being written: such a directory is moved into place when it is
            # whole.
            names = [entry.name for entry in found if not entry.name.startswith(".")]
    except ABSENT:
        return []
    return [path / name for name in names if os.path.isdir(path / name)]
