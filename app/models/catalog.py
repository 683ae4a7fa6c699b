"""Shared. What exists on disk: models/<name>/<version>/ and which version of a name is active.

Reads manifests only, never an artifact, so the API process can use it without model libraries. A
version whose manifest is wrong is listed with its error and never hides the others.
"""

import os
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml

from app.errors import ManifestInvalid, ModelError, ModelNotFound, UnsafePath
from app.models.base import NAME_PATTERN, VERSION_PATTERN, Manifest, Ref, check_name
from app.models.desired import Desired, read_copy

MANIFEST_FILE = "model.yaml"
ACTIVE_FILE = "active.json"
MAX_MANIFEST_BYTES = 1 << 20
# Aliases and depth are looked at before anything is built: a few bytes can stand for any amount.
MAX_DEPTH = 32
# The loader written in Python takes minutes for some small files.
YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
RESCAN_S = 1.0


class Entry(NamedTuple):
    """A version directory: its manifest, or the error that keeps it from being loaded."""

    ref: Ref
    path: Path
    manifest: Manifest | None
    error: ModelError | None


class Catalog:
    """The versions under one models directory, looked at again at most once a second."""

    def __init__(self, root: str | Path, default_model: str) -> None:
        self.root = Path(root)
        self.default_model = default_model
        self._lock = threading.Lock()
        self._following = threading.Lock()
        self._entries: dict[Ref, Entry] = {}
        self._gone: dict[Ref, Entry] = {}
        self._active: dict[str, str] = {}
        self._desired: Desired | None = None
        self._stamps: dict[Ref, tuple[tuple[int, int], Entry]] = {}
        self._scanned_at = float("-inf")

    def entries(self, fresh: bool = False) -> dict[Ref, Entry]:
        """All versions, sorted by ref; `fresh` looks at the disk now."""
        with self._lock:
            if fresh or time.monotonic() - self._scanned_at >= RESCAN_S:
                self._scan()
            return self._entries

    def get(self, ref: Ref) -> Entry:
        """The entry of an exact ref; `ModelNotFound` names those that exist.

        An active version that left the disk while this process looked on is still known: the
        workers go on with it.
        """
        entry = self.entries().get(ref) or self._gone.get(ref)
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
        with self._following:
            known = self._desired
            if desired is None or desired == known:
                return False
            if known is not None and known.generation > desired.generation:
                return False
            self._desired = desired
            # What became active may be younger than the last look at the disk.
            self._scanned_at = float("-inf")
            return True

    def active(self, name: str) -> Ref | None:
        """The version that the bare name stands for; a lone version needs no entry.

        Where the desired state names one that is not here, no other takes its place.
        """
        versions = [ref for ref in (*self.entries(), *self._gone) if ref.name == name]
        desired = self._desired.active if self._desired else {}
        chosen = Ref(name, desired.get(name) or self._active.get(name, ""))
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
        entries = self.entries()
        wanted = text or self.default_model
        if active := self.active(wanted):
            return active
        name, _, version = wanted.rpartition("-")
        readings = [Ref(name, version), Ref(self.default_name, wanted)]
        for ref in readings:
            if ref in entries or ref in self._gone:
                return ref
        raise ModelNotFound(wanted, self._known())

    @property
    def default_name(self) -> str:
        """The model name of `default_model`, which may itself be a name or a ref."""
        names = {ref.name for ref in (*self.entries(), *self._gone)}
        if self.default_model in names:
            return self.default_model
        return self.default_model.rpartition("-")[0]

    def _known(self) -> str:
        return ", ".join(str(ref) for ref in self._entries) or "no models"

    def _scan(self) -> None:
        # Before the look: what comes while it lasts is seen by the next one.
        self._scanned_at = time.monotonic()
        found = sorted(Ref(path.parent.name, path.name) for path in _version_directories(self.root))
        known = {**self._gone, **self._entries}
        self._entries = {ref: self._entry(ref) for ref in found}
        self._stamps = {ref: kept for ref, kept in self._stamps.items() if ref in self._entries}
        self._active = read_active(self.root)
        if self._desired is None:
            # Later only Redis tells: an API process must not know of a version sooner than of the
            # hosts that hold it.
            self.follow(read_copy(self.root))
        self._gone = {ref: entry for ref, entry in known.items() if self._is_missed(ref)}

    def _is_missed(self, ref: Ref) -> bool:
        active = self._desired.active if self._desired else {}
        return ref not in self._entries and active.get(ref.name) == ref.version

    def _entry(self, ref: Ref) -> Entry:
        path = self.root / ref.name / ref.version
        stamp = _stamp(path / MANIFEST_FILE)
        kept = self._stamps.get(ref)
        if kept is None or kept[0] != stamp:
            kept = (stamp, _read_entry(ref, path))
            self._stamps[ref] = kept
        return kept[1]


def read_manifest(path: Path) -> Manifest:
    """Parse and validate `path`/model.yaml; `ManifestInvalid` says where it is wrong."""
    try:
        text = _read_text(path / MANIFEST_FILE)
        _check_shape(text)
        return msgspec.convert(YamlLoader(text).get_single_data(), Manifest)
    except FileNotFoundError as error:
        raise ManifestInvalid(path.name, "the file is missing") from error
    except OSError as error:
        # str(error) would name the path on this machine.
        raise ManifestInvalid(path.name, f"not readable ({error.strerror})") from error
    except (ValueError, yaml.YAMLError) as error:
        # ValueError: not UTF-8, not valid (msgspec), or a date or number that does not exist.
        raise ManifestInvalid(path.name, " ".join(str(error).split())) from error


def read_active(root: Path) -> dict[str, str]:
    """The active version by model name; empty where the file is missing or unreadable."""
    try:
        return msgspec.json.decode((root / ACTIVE_FILE).read_bytes(), type=dict[str, str])
    except (OSError, ValueError):
        return {}


def _check_shape(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, YamlLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("YAML aliases are not allowed")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")


def _read_text(file: Path) -> str:
    if file.exists() and not file.is_file():
        # Opening a pipe would wait for its writer.
        raise ValueError("not a regular file")
    with file.open("rb") as opened:
        content = opened.read(MAX_MANIFEST_BYTES + 1)
    if len(content) > MAX_MANIFEST_BYTES:
        raise ValueError(f"larger than {MAX_MANIFEST_BYTES} bytes")
    return content.decode("utf-8")


def keep_name_resolvable(root: Path, added: Ref) -> None:
    """After a version was added: write down what the bare name stands for, if nothing says so yet.

    The first version of a name becomes its active one; a later one never does by itself.
    """
    active = read_active(root)
    before = {path.name for path in _version_directories(root) if path.parent.name == added.name}
    before.discard(added.version)
    if added.name in active or len(before) > 1:
        return
    active[added.name] = before.pop() if before else added.version
    staged = root / f".{ACTIVE_FILE}-{os.getpid()}"
    staged.write_bytes(msgspec.json.format(msgspec.json.encode(active)) + b"\n")
    os.replace(staged, root / ACTIVE_FILE)


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


def _version_directories(root: Path) -> list[Path]:
    # A dot marks what is being written: such a directory is moved into place when it is whole.
    return [
        path
        for path in root.glob("[!.]*/[!.]*")
        if path.is_dir() and not path.name.startswith("__")
    ]


def _stamp(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)
