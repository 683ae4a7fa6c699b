"""Shared. What processes counted that have ended: added up in one place, once, and never lost.

prometheus_client leaves three files for every process that ever was. Here each process owns its
files for as long as it lives, which is as long as the kernel keeps its lock: no pid is mistaken for
another, and SIGKILL is noticed too. Whoever reads or joins folds the files of the dead into one
file for each kind. A fold that is cut short is either not there or complete (`State`).
"""

import fcntl
import logging
import os
import struct
import threading
import time
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import msgspec
from prometheus_client import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.registry import Collector

from app.monitoring.counts.file import CountsFile
from app.monitoring.counts.merging import Merger

logger = logging.getLogger(__name__)

Process = Literal["api", "worker"]
Key = tuple[str, str]
Values = dict[Key, tuple[float, float]]

LOCK_FILE = "lock"
STATE_FILE = "folded.json"
OWNER_PREFIX = "owner_"
LEFT = b"left"
MAX_OWNER_BYTES = 64
FOLDED = "_folded-"
SUFFIX = ".db"
# A process that is frozen while it folds must not freeze all others.
MAX_LOCK_WAIT_S = 1.0
LOCK_POLL_S = 0.002

LOST_NAME = "mlserve_processes_lost_total"
LOST_HELP = "Processes that ended without being asked to, by what they were."


class State(msgspec.Struct, frozen=True):
    """Written in one step: which folded files count, and which files are in them and do not."""

    generation: int = 0
    included: list[str] = []


class Owner:
    """The claim of this process on its files; its lock is never given up but by the end of it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def leave(self) -> None:
        """This process is about to end because it was asked to; it may go on counting."""
        os.write(self._descriptor, LEFT)


def claim(directory: Path, process: Process) -> Owner:
    """Own what this process will count; before it counts anything."""
    with _locked(directory) as is_alone:
        if is_alone:
            _fold(directory)
        file = directory / f"{OWNER_PREFIX}{os.getpid()}"
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        # Two apps of one process are one owner.
        _try(descriptor)
        os.write(descriptor, f"{process} ".encode())
    return Owner(descriptor)


def fold(directory: Path) -> None:
    """Add up what the dead counted; nothing where somebody else holds the directory."""
    with _locked(directory) as is_alone:
        if is_alone:
            _fold(directory)


class MergedCollector(Collector):
    """The sum over all processes of a directory, dead or alive."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._turn = threading.Lock()
        self._merger = Merger()
        # By path and inode: the path of a process may come again.
        self._files: dict[tuple[str, int], CountsFile] = {}

    def collect(self) -> Iterable[Metric]:
        """The merged metrics; nothing where the directory is gone."""
        with self._turn:
            self._look()
            # What is folded from now on was mapped before: it counts where it was.
            return self._merger.merge(list(self._files.values()))

    def _look(self) -> None:
        with _locked(self._directory) as is_alone:
            try:
                if is_alone:
                    _fold(self._directory)
                self._files = self._opened()
            except FileNotFoundError:
                # The directory was emptied, or somebody folds who is slower than we are patient.
                self._files = self._opened()

    def _opened(self) -> dict[tuple[str, int], CountsFile]:
        opened = {}
        for file in _current(self._directory):
            # One that was just made is empty for a moment.
            with suppress(ValueError):
                opened[file] = self._files.get(file) or CountsFile(file[0])
        return opened


@contextmanager
def _locked(directory: Path) -> Iterator[bool]:
    """Whether nobody else is at it."""
    until = time.monotonic() + MAX_LOCK_WAIT_S
    descriptor = _lock_file(directory)
    try:
        while not (is_alone := _try(descriptor)) and time.monotonic() < until:
            time.sleep(LOCK_POLL_S)
        yield is_alone
    finally:
        os.close(descriptor)


def _lock_file(directory: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT
    try:
        return os.open(directory / LOCK_FILE, flags, 0o600)
    except FileNotFoundError:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(directory / LOCK_FILE, flags, 0o600)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _fold(directory: Path) -> None:
    state = _state(directory)
    _clean(directory, state)
    names = os.listdir(directory)
    dead = dict(_dead(directory, names))
    if not dead:
        return
    pids = {owner.name.removeprefix(OWNER_PREFIX) for owner in dead}
    files = [directory / name for name in names if _is_of(pids, name)]
    values: Values = {}
    for file in [*_folded(directory, state.generation), *files]:
        _add(values, file)
    for said in dead.values():
        if not said.endswith(LEFT):
            _count_lost(values, said.decode().strip())
    generation = state.generation + 1
    _write(directory, generation, values)
    included = [file.name for file in (*files, *dead)]
    after = State(generation, included)
    _commit(directory, after)
    _clean(directory, after)


def _state(directory: Path) -> State:
    try:
        return msgspec.json.decode((directory / STATE_FILE).read_bytes(), type=State)
    except (FileNotFoundError, ValueError):
        return State()


def _commit(directory: Path, state: State) -> None:
    temporary = directory / f"{STATE_FILE}.new"
    temporary.write_bytes(msgspec.json.encode(state))
    temporary.replace(directory / STATE_FILE)


def _clean(directory: Path, state: State) -> None:
    """Remove what is in the folded files, and folded files that do not count."""
    for name in state.included:
        (directory / name).unlink(missing_ok=True)
    # A process may come that has the pid of one of them.
    if state.included:
        _commit(directory, State(state.generation))
    for name in os.listdir(directory):
        if FOLDED in name and not _counts(name, state):
            (directory / name).unlink(missing_ok=True)


def _dead(directory: Path, names: Iterable[str]) -> Iterator[tuple[Path, bytes]]:
    """The owners that are gone, and what they said of themselves."""
    for name in names:
        if not name.startswith(OWNER_PREFIX):
            continue
        descriptor = os.open(directory / name, os.O_RDONLY)
        try:
            if _try(descriptor):
                yield directory / name, os.read(descriptor, MAX_OWNER_BYTES)
        finally:
            os.close(descriptor)


def _current(directory: Path) -> list[tuple[str, int]]:
    """The files that count now, by path and inode."""
    state = _state(directory)
    with os.scandir(directory) as entries:
        return [(entry.path, entry.inode()) for entry in entries if _counts(entry.name, state)]


def _counts(name: str, state: State) -> bool:
    if not name.endswith(SUFFIX) or name in state.included:
        return False
    return FOLDED not in name or name.endswith(f"{FOLDED}{state.generation}{SUFFIX}")


def _is_of(pids: Container[str], name: str) -> bool:
    return name.endswith(SUFFIX) and _owner_of(name) in pids


def _folded(directory: Path, generation: int) -> list[Path]:
    return list(directory.glob(f"*{FOLDED}{generation}{SUFFIX}"))


def _owner_of(name: str) -> str:
    return name.removesuffix(SUFFIX).rpartition("_")[2]


def _kind_of(file: Path) -> str:
    return file.stem.rpartition("_")[0]


def _add(values: Values, file: Path) -> None:
    kind = _kind_of(file)
    # Of a process that is gone nothing lives.
    if kind.startswith(("gauge_live", "gauge_all")):
        return
    try:
        rows = list(MmapedDict.read_all_values_from_file(file)) if file.stat().st_size else []  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, struct.error):
        logger.warning("counts of an ended process cannot be read", extra={"file": file.name})
        return
    for name, value, stamp, _ in rows:
        known = values.get((kind, name))
        values[kind, name] = (value, stamp) if known is None else _sum(kind, known, (value, stamp))


def _sum(kind: str, one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    match kind:
        case "gauge_min":
            return min(one, other)
        case "gauge_max":
            return max(one, other)
        case "gauge_mostrecent":
            return max(one, other, key=lambda row: row[1])
    return (one[0] + other[0], 0.0)


def _count_lost(values: Values, process: str) -> None:
    family = LOST_NAME.removesuffix("_total")
    key = ("counter", mmap_key(family, LOST_NAME, ["process"], [process], LOST_HELP))
    values[key] = (values.get(key, (0.0, 0.0))[0] + 1, 0.0)


def _write(directory: Path, generation: int, values: Values) -> None:
    made: dict[str, MmapedDict] = {}
    for (kind, name), (value, stamp) in values.items():
        if kind not in made:
            file = directory / f"{kind}{FOLDED}{generation}{SUFFIX}"
            file.unlink(missing_ok=True)
            made[kind] = MmapedDict(str(file))  # type: ignore[no-untyped-call]
        made[kind].write_value(name, value, stamp)  # type: ignore[no-untyped-call]
    for folded in made.values():
        folded.close()  # type: ignore[no-untyped-call]
