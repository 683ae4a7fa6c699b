"""Worker process. The versions that this process holds in memory.

`reconcile` makes it equal to what is wanted. Readers take one look at one reference, never a lock.
A version that is no longer wanted is kept for requests that are on their way, and one that is
replaced lives on until its last user has let go of it.
"""

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import msgspec

from app.contract import HeldModel
from app.errors import ModelError, ModelUnavailable, VersionMissing
from app.fleet import FAILED, READY, RETIRING
from app.models.attempt import UNBOUNDED, Attempts, Bounds
from app.models.base import Manifest, Ref
from app.models.catalog import Entry
from app.models.golden import GOLDEN_FILE
from app.models.loader import LoadedModel, load
from app.models.retries import wait_after
from app.settings import Limits

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Changes(NamedTuple):
    """What one `reconcile` did, as refs."""

    loaded: list[str]
    dropped: list[str]
    failed: list[str]
    retired: list[str]

    def __bool__(self) -> bool:
        return any(self)


class Fault(NamedTuple):
    """Why a version is not held, and what lay on disk then: tried again when that changes.

    Where the cause may pass, tried again after `wait_s` as well, at `again_at`, a monotonic time.
    Words, not the error: its traceback would keep all that was read for the load.
    """

    error: str
    code: str
    digest: str
    seen: "Fingerprint"
    wait_s: float | None = None
    again_at: float = math.inf

    def says(self, other: "Fault | None") -> bool:
        """Whether it tells the same as `other`."""
        return other is not None and self[:4] == other[:4]


class Fingerprint(NamedTuple):
    """What decides whether a version is worth another try: its manifest and its files."""

    manifest: Manifest | None
    files: tuple[tuple[int, int, int], ...]


class Registry:
    """Versions by ref; safe for one writer at a time and any number of readers.

    What is no longer wanted is dropped by the first `reconcile` after `retire_after_s` seconds.
    """

    def __init__(
        self,
        limits: Limits,
        device: str,
        now: Callable[[], float] = time.time,
        bounds: Bounds = UNBOUNDED,
        retire_after_s: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._device = device
        self._now = now
        self._attempts = Attempts(bounds)
        self._retire_after_s = retire_after_s
        self._monotonic = monotonic
        # Told of every version as soon as it is held, and in how many seconds it was loaded.
        self.on_loaded: list[Callable[[str, float], None]] = []
        self._writing = threading.Lock()
        self._models: dict[str, LoadedModel] = {}
        self._faults: dict[str, Fault] = {}
        self._retired_at: dict[str, float] = {}

    def get(self, ref: str) -> LoadedModel:
        """The model of an exact ref; `ModelUnavailable` says why this process has none."""
        try:
            return self._models[ref]
        except KeyError:
            fault = self._faults.get(ref)
            reason = fault.error if fault else "this worker does not hold it"
            raise ModelUnavailable(ref, reason) from None

    def holds(self, ref: str) -> bool:
        """Whether `get` would give a model."""
        return ref in self._models

    def held(self) -> list[HeldModel]:
        """Every version that is ready, retiring or failed, sorted by ref.

        One that is ready and has an error was changed on disk, and the change cannot be loaded.
        """
        models, faults, retired = self._models, self._faults, self._retired_at
        ready = [
            HeldModel(
                ref=ref,
                digest=model.digest,
                status=RETIRING if ref in retired else READY,
                memory_bytes=model.memory_bytes,
                loaded_at=model.loaded_at,
            )
            for ref, model in models.items()
        ]
        failed = [
            HeldModel(ref=ref, digest=fault.digest, status=FAILED)
            for ref, fault in faults.items()
            if ref not in models
        ]
        told = (_told(model, faults.get(model.ref)) for model in ready + failed)
        return sorted(told, key=lambda model: model.ref)

    def retry(self, refs: Iterable[Ref]) -> None:
        """Have the next `reconcile` try these again, although nothing changed on disk."""
        with self._writing:
            self._faults = _without(self._faults, map(str, refs))

    def reconcile(
        self,
        entries: Mapping[Ref, Entry],
        first: Sequence[Ref] = (),
        missing: Collection[Ref] = (),
        others: Mapping[Ref, Entry] = MappingProxyType({}),
    ) -> Changes:
        """Load what is new (`first` before all others), drop what is not wanted, keep the errors.

        `missing` versions are wanted too, and are not on disk: what is held of them stays. `others`
        are on disk and not wanted: why one could not be loaded is told until it changes.
        """
        changes = Changes([], [], [], [])
        places = {ref: place for place, ref in enumerate(first)}
        with self._writing:
            wanted = {str(ref) for ref in (*entries, *missing)}
            self._retire_all_but(wanted, changes)
            self._forget_faults_but(wanted, {str(ref): entry for ref, entry in others.items()})
            for ref in missing:
                self._note(VersionMissing(str(ref)), str(ref), "", Fingerprint(None, ()), changes)
            for ref in sorted(entries, key=lambda ref: (places.get(ref, len(places)), ref)):
                self._reconcile_one(entries[ref], changes)
        return changes

    def _retire_all_but(self, wanted: set[str], changes: Changes) -> None:
        moment, known = self._monotonic(), self._retired_at
        retired = {ref: known.get(ref, moment) for ref in self._models if ref not in wanted}
        gone = [ref for ref, at in retired.items() if moment - at >= self._retire_after_s]
        self._models = _without(self._models, gone)
        self._retired_at = _without(retired, gone)
        for ref in self._retired_at.keys() - known.keys():
            changes.retired.append(ref)
        for ref in gone:
            changes.dropped.append(ref)
            logger.info("model dropped", extra={"action": "model_dropped", "ref": ref})

    def _forget_faults_but(self, wanted: set[str], others: Mapping[str, Entry]) -> None:
        self._faults = {
            ref: fault
            for ref, fault in self._faults.items()
            if ref in wanted or (ref in others and _look(others[ref]) == fault.seen)
        }

    def _reconcile_one(self, entry: Entry, changes: Changes) -> None:
        ref = str(entry.ref)
        model, fault = self._models.get(ref), self._faults.get(ref)
        digest = entry.manifest.digest if entry.manifest else ""
        if model is not None and model.digest == digest:
            self._faults = _without(self._faults, [ref])
            return
        seen = _look(entry)
        if fault is not None and fault.seen == seen and not self._is_due(ref, fault):
            return
        started = time.perf_counter()
        try:
            trial = partial(load, entry, self._limits, self._device, self._now)
            loaded = self._attempts.run(entry, trial)
        except ModelError as error:
            self._note(error, ref, digest, seen, changes)
            return
        self._models = {**self._models, ref: loaded}
        self._faults = _without(self._faults, [ref])
        changes.loaded.append(ref)
        duration_s = time.perf_counter() - started
        _log_loaded(loaded, duration_s)
        for told in self.on_loaded:
            told(ref, duration_s)

    def _is_due(self, ref: str, fault: Fault) -> bool:
        # To wait for an attempt that still hangs would keep all other versions from their turn.
        return self._monotonic() >= fault.again_at and not self._attempts.hangs(ref)

    def _note(
        self, error: ModelError, ref: str, digest: str, seen: Fingerprint, changes: Changes
    ) -> None:
        known = self._faults.get(ref)
        wait_s = wait_after(error, known.wait_s if known and known.seen == seen else None)
        again_at = math.inf if wait_s is None else self._monotonic() + wait_s
        fault = Fault(str(error), error.code, digest, seen, wait_s, again_at)
        self._faults = {**self._faults, ref: fault}
        if fault.says(known):
            return
        changes.failed.append(ref)
        details = {"action": "model_failed", "ref": ref, "code": fault.code, "cause": fault.error}
        logger.warning("model cannot be loaded", extra=details)


def _told(model: HeldModel, fault: Fault | None) -> HeldModel:
    if fault is None:
        return model
    return msgspec.structs.replace(model, error=fault.error, code=fault.code)


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


def _look(entry: Entry) -> Fingerprint:
    artifacts = entry.manifest.artifacts if entry.manifest else []
    names = [GOLDEN_FILE, *(artifact.file for artifact in artifacts)]
    return Fingerprint(
        entry.manifest, tuple(_stamp(os.path.join(entry.path, name)) for name in names)
    )


def _stamp(file: str) -> tuple[int, int, int]:
    try:
        status = os.lstat(file)
    except OSError:
        return (0, 0, 0)
    return (status.st_ino, status.st_mtime_ns, status.st_size)
