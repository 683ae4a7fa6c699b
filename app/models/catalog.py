"""Shared. What exists on disk: models/<name>/<version>/ and which version of a name is active.

Reads manifests only, never an artifact, so the API process can use it without model libraries. A
version whose manifest is wrong is listed with its error and never hides the others.
"""

import logging
import threading
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import yaml

from app.errors import ManifestInvalid, ModelError, ModelNotFound, UnsafePath
from app.models import directory
from app.models.base import NAME_PATTERN, VERSION_PATTERN, Manifest, Ref, check_name
from app.models.desired import Desired, read_copy
from app.untrusted_yaml import parse

logger = logging.getLogger(__name__)

MANIFEST_FILE = "model.yaml"
MAX_MANIFEST_BYTES = 1 << 20
RESCAN_S = 1.0
# A look takes milliseconds, unless the disk hangs; and who waits may be an event loop.
MAX_WAIT_S = 0.05


class Entry(NamedTuple):
    """A version directory: its manifest, or the error that keeps it from being loaded."""

    ref: Ref
    path: Path
    manifest: Manifest | None
    error: ModelError | None


class Seen(NamedTuple):
    """One look at the disk: what is there, active versions that were before, and `active.json`."""

    entries: dict[Ref, Entry]
    gone: dict[Ref, Entry]
    active: dict[str, str]


class Catalog:
    """The versions under one models directory, looked at again at most once a second.

    Nobody waits for a look that takes long: until it ends, or where it fails, the last one counts.
    """

    def __init__(self, root: str | Path, default_model: str) -> None:
        self.root = Path(root)
        self.default_model = default_model
        self._looking = threading.Lock()
        self._following = threading.Lock()
        # Replaced as a whole: several threads ask, and another one looks.
        self._seen = Seen({}, {}, {})
        self._desired: Desired | None = None
        self._stamps: dict[Ref, tuple[tuple[int, int], Entry]] = {}
        self._looked_at = float("-inf")
        # Looks that somebody must wait for: how many were wanted, and how many of them are done.
        self._wanted, self._done = 1, 0
        self._is_failing = False

    def entries(self, fresh: bool = False) -> dict[Ref, Entry]:
        """All versions, sorted by ref; `fresh` looks at the disk now."""
        return self._look(fresh).entries

    def get(self, ref: Ref) -> Entry:
        """The entry of an exact ref; `ModelNotFound` names those that exist.

        An active version that left the disk while this process looked on is still known: the
        workers go on with it.
        """
        seen = self._look()
        entry = seen.entries.get(ref) or seen.gone.get(ref)
        if entry is None:
            raise ModelNotFound(str(ref), self._known())
        return entry

    def desired(self) -> Desired:
        """What should be held and serve, as far as this process knows; made from the disk at first.

        The first state of all activates what `active.json` says, and asks for what is on disk.
        """
        # The first look at the disk finds the copy that was left there.
        entries = self.entries().values()
        if self._desired is not None:
            return self._desired
        # A directory whose name is not allowed can be listed, but nobody can ask for it.
        named = [entry.ref for entry in entries if not isinstance(entry.error, UnsafePath)]
        found = {ref.name: self.active(ref.name) for ref in named}
        active = {name: ref.version for name, ref in found.items() if ref in named}
        return Desired(active=active, loaded=[str(ref) for ref in named])

    @property
    def generation(self) -> int:
        """That of the desired state which `active` follows; 0 before there is one."""
        return self._desired.generation if self._desired else 0

    def follow(self, desired: Desired | None) -> bool:
        """Learn of a newer desired state; whether it was one.

        Another one of the same generation is newer too: Redis was emptied and changed since.
        """
        is_newer = self._learn(desired)
        # What became active may be younger than the last look at the disk.
        self._wanted += is_newer
        return is_newer

    def active(self, name: str) -> Ref | None:
        """The version that the bare name stands for; a lone version needs no entry.

        Where the desired state names one that is not here, no other takes its place.
        """
        seen = self._look()
        versions = [ref for ref in (*seen.entries, *seen.gone) if ref.name == name]
        desired = self._desired.active if self._desired else {}
        chosen = Ref(name, desired.get(name) or seen.active.get(name, ""))
        if chosen in versions:
            return chosen
        return versions[0] if len(versions) == 1 and name not in desired else None

    def default(self) -> Ref | None:
        """What a request gets that names no model; None where that is not here."""
        try:
            return self.resolve()
        except ModelNotFound:
            return None

    def resolve(self, text: str | None = None) -> Ref:
        """`sentiment-v2`, `sentiment` (its active version), `v2` (of the default model) or None.

        A bare name wins over the other readings. Raises `ModelNotFound` with the refs that exist.
        """
        seen = self._look()
        wanted = text or self.default_model
        if active := self.active(wanted):
            return active
        name, _, version = wanted.rpartition("-")
        readings = [Ref(name, version), Ref(self.default_name, wanted)]
        for ref in readings:
            if ref in seen.entries or ref in seen.gone:
                return ref
        raise ModelNotFound(wanted, self._known())

    @property
    def default_name(self) -> str:
        """The model name of `default_model`, which may itself be a name or a ref."""
        seen = self._look()
        names = {ref.name for ref in (*seen.entries, *seen.gone)}
        if self.default_model in names:
            return self.default_model
        return self.default_model.rpartition("-")[0]

    def _known(self) -> str:
        return ", ".join(str(ref) for ref in self._seen.entries) or "no models"

    def _learn(self, desired: Desired | None) -> bool:
        with self._following:
            known = self._desired
            if desired is None or desired == known:
                return False
            if known is not None and known.generation > desired.generation:
                return False
            self._desired = desired
            return True

    def _look(self, fresh: bool = False) -> Seen:
        if fresh or self._done < self._wanted:
            with self._looking:
                # Another thread may have looked meanwhile.
                if fresh or self._done < self._wanted:
                    self._scan()
        elif time.monotonic() - self._looked_at >= RESCAN_S:
            self._look_aside()
        return self._seen

    def _look_aside(self) -> None:
        if not self._looking.acquire(blocking=False):
            return
        looker = threading.Thread(target=self._scan_aside, name="catalog", daemon=True)
        try:
            looker.start()
        except RuntimeError:  # there is no room for another thread
            self._looking.release()
        else:
            looker.join(MAX_WAIT_S)

    def _scan_aside(self) -> None:
        try:
            self._scan()
        finally:
            self._looking.release()

    def _scan(self) -> None:
        # Before the look: what is followed while it lasts is seen by the next one.
        wanted = self._wanted
        try:
            self._seen = self._read()
            self._is_failing = False
        except OSError as error:
            if not self._done:
                raise
            if not self._is_failing:
                logger.warning("models directory not read", extra={"cause": error.strerror})
            self._is_failing = True
        # After it: the next look is due a second later, however long this one took.
        self._done, self._looked_at = wanted, time.monotonic()

    def _read(self) -> Seen:
        known = {**self._seen.gone, **self._seen.entries}
        found = directory.versions(self.root)
        entries = {ref: self._entry(ref) for ref in (Ref(p.parent.name, p.name) for p in found)}
        self._stamps = {ref: kept for ref, kept in self._stamps.items() if ref in entries}
        active = directory.read_active(self.root)
        if self._desired is None:
            # Later only Redis tells: an API process must not know of a version sooner than of the
            # hosts that hold it.
            self._learn(read_copy(self.root))
        chosen = self._desired.active if self._desired else {}
        missed = (Ref(name, version) for name, version in chosen.items())
        gone = {ref: known[ref] for ref in missed if ref in known and ref not in entries}
        return Seen(entries, gone, active)

    def _entry(self, ref: Ref) -> Entry:
        path = self.root / ref.name / ref.version
        stamp, kept = directory.stamp(path / MANIFEST_FILE), self._stamps.get(ref)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        entry = _read_entry(ref, path)
        if _may_pass(entry):
            return entry if kept is None else kept[1]
        self._stamps[ref] = stamp, entry
        return entry


def read_manifest(path: Path) -> Manifest:
    """Parse and validate `path`/model.yaml; `ManifestInvalid` says where it is wrong."""
    try:
        return msgspec.convert(parse(_read_text(path / MANIFEST_FILE)), Manifest)
    except FileNotFoundError as error:
        raise ManifestInvalid(path.name, "the file is missing") from error
    except OSError as error:
        # str(error) would name the path on this machine.
        raise ManifestInvalid(path.name, f"not readable ({error.strerror})") from error
    except (ValueError, yaml.YAMLError) as error:
        # ValueError: not UTF-8, or not valid (msgspec).
        # To YAML, what it reads has no name.
        said = " ".join(str(error).split()).replace(' in "<unicode string>"', "")
        raise ManifestInvalid(path.name, said) from error


def _read_text(file: Path) -> str:
    if file.exists() and not file.is_file():
        # Opening a pipe would wait for its writer.
        raise ValueError("not a regular file")
    with file.open("rb") as opened:
        content = opened.read(MAX_MANIFEST_BYTES + 1)
    if len(content) > MAX_MANIFEST_BYTES:
        raise ValueError(f"larger than {MAX_MANIFEST_BYTES} bytes")
    return content.decode("utf-8")


def _read_entry(ref: Ref, path: Path) -> Entry:
    try:
        check_name(ref.name, NAME_PATTERN)
        check_name(ref.version, VERSION_PATTERN)
        if path.is_symlink() or path.parent.is_symlink():
            raise UnsafePath(str(ref), "the directory is a symbolic link")
        manifest = read_manifest(path)
        if manifest.ref != ref:
            raise ManifestInvalid(str(ref), f"describes {manifest.ref}")
    except ModelError as error:
        return Entry(ref, path, None, error)
    return Entry(ref, path, manifest, None)


def _may_pass(entry: Entry) -> bool:
    """Whether the next look may well find the manifest, though it is as it was."""
    cause = None if entry.error is None else entry.error.__cause__
    return isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError)
