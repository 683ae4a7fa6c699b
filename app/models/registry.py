"""Worker process. The versions that this process holds in memory.

`reconcile` makes it equal to what is on disk. Readers take one look at one reference, never a lock;
a version that is replaced lives on until its last user has let go of it.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

from app.contract import HeldModel
from app.errors import ModelError, ModelUnavailable
from app.fleet import FAILED, READY
from app.models.base import Manifest, Ref
from app.models.catalog import Entry
from app.models.loader import LoadedModel, load
from app.settings import Limits

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Changes(NamedTuple):
    """What one `reconcile` did, as refs."""

    loaded: list[str]
    dropped: list[str]
    failed: list[str]

    def __bool__(self) -> bool:
        return any(self)


class Fault(NamedTuple):
    """Why a version is not held, and what lay on disk then: tried again when that changes."""

    error: ModelError
    digest: str
    seen: "Seen"


class Seen(NamedTuple):
    """What decides whether a version is worth another try: its manifest and its files."""

    manifest: Manifest | None
    files: tuple[tuple[int, int, int], ...]


class Registry:
    """Versions by ref; safe for one writer at a time and any number of readers."""

    def __init__(self, limits: Limits, device: str, now: Callable[[], float] = time.time) -> None:
        self._limits = limits
        self._device = device
        self._now = now
        self._writing = threading.Lock()
        self._models: dict[str, LoadedModel] = {}
        self._faults: dict[str, Fault] = {}

    def get(self, ref: str) -> LoadedModel:
        """The model of an exact ref; `ModelUnavailable` says why this process has none."""
        try:
            return self._models[ref]
        except KeyError:
            fault = self._faults.get(ref)
            reason = str(fault.error) if fault else "this worker does not hold it"
            raise ModelUnavailable(ref, reason) from None

    def holds(self, ref: str) -> bool:
        """Whether `get` would give a model."""
        return ref in self._models

    def held(self) -> list[HeldModel]:
        """Every version that is ready or failed, sorted by ref.

        One that is ready and has an error was changed on disk, and the change cannot be loaded.
        """
        models, faults = self._models, self._faults
        ready = [
            HeldModel(
                ref=ref,
                digest=model.digest,
                status=READY,
                error=str(faults[ref].error) if ref in faults else None,
                memory_bytes=model.memory_bytes,
                loaded_at=model.loaded_at,
            )
            for ref, model in models.items()
        ]
        failed = [
            HeldModel(ref=ref, digest=fault.digest, status=FAILED, error=str(fault.error))
            for ref, fault in faults.items()
            if ref not in models
        ]
        return sorted(ready + failed, key=lambda model: model.ref)

    def reconcile(self, entries: Mapping[Ref, Entry], first: Ref | None = None) -> Changes:
        """Load what is new (`first` before all others), drop what is gone, keep the errors."""
        changes = Changes([], [], [])
        with self._writing:
            self._drop_all_but({str(ref) for ref in entries}, changes)
            for ref in sorted(entries, key=lambda ref: (ref != first, ref)):
                self._reconcile_one(entries[ref], changes)
        return changes

    def _drop_all_but(self, wanted: set[str], changes: Changes) -> None:
        gone = [ref for ref in self._models if ref not in wanted]
        self._models = _without(self._models, gone)
        self._faults = _without(self._faults, [ref for ref in self._faults if ref not in wanted])
        for ref in gone:
            changes.dropped.append(ref)
            logger.info("model dropped", extra={"action": "model_dropped", "ref": ref})

    def _reconcile_one(self, entry: Entry, changes: Changes) -> None:
        ref = str(entry.ref)
        model, fault = self._models.get(ref), self._faults.get(ref)
        digest = entry.manifest.digest if entry.manifest else ""
        if model is not None and model.digest == digest:
            self._faults = _without(self._faults, [ref])
            return
        seen = _look(entry)
        if fault is not None and fault.seen == seen:
            return
        started = time.perf_counter()
        try:
            loaded = load(entry, self._limits, self._device, self._now)
        except ModelError as error:
            self._faults = {**self._faults, ref: Fault(error, digest, seen)}
            changes.failed.append(ref)
            logger.warning(
                "model cannot be loaded",
                extra={"action": "model_failed", "ref": ref, "code": error.code, "cause": error},
            )
            return
        self._models = {**self._models, ref: loaded}
        self._faults = _without(self._faults, [ref])
        changes.loaded.append(ref)
        _log_loaded(loaded, time.perf_counter() - started)


def _log_loaded(model: LoadedModel, duration_s: float) -> None:
    logger.info(
        "model loaded",
        extra={
            "action": "model_loaded",
            "ref": model.ref,
            "device": model.device,
            "duration_s": round(duration_s, 3),
            "memory_bytes": model.memory_bytes,
        },
    )


def _without(rows: dict[str, T], refs: Iterable[str]) -> dict[str, T]:
    gone = set(refs)
    return {ref: row for ref, row in rows.items() if ref not in gone}


def _look(entry: Entry) -> Seen:
    names = [artifact.file for artifact in entry.manifest.artifacts] if entry.manifest else []
    return Seen(entry.manifest, tuple(_stamp(os.path.join(entry.path, name)) for name in names))


def _stamp(file: str) -> tuple[int, int, int]:
    try:
        status = os.lstat(file)
    except OSError:
        return (0, 0, 0)
    return (status.st_ino, status.st_mtime_ns, status.st_size)
