"""Worker process. Takes a model directory or archive in as a version of the models directory.

Everything is checked in a hidden directory beside the models, which is then renamed into place: a
catalog that looks meanwhile sees the whole version or nothing.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.errors import (
    ArtifactInvalid,
    ArtifactUnsafe,
    DeviceMissing,
    LibraryMissing,
    ManifestInvalid,
    ModelError,
    UnsafePath,
    VersionExists,
)
from app.models.archives import is_archive, unpack
from app.models.base import NAME_PATTERN, VERSION_PATTERN, Manifest, Ref, check_name
from app.models.catalog import MANIFEST_FILE, Entry, read_manifest
from app.models.directory import keep_name_resolvable
from app.models.golden import GOLDEN_FILE
from app.models.guard import only_model_errors
from app.models.hugging_face_directory import describe
from app.models.loader import load, read_artifacts
from app.models.manifest_file import write_manifest
from app.models.reference import REFERENCE_FILE
from app.settings import Limits

# What a version may hold beside its manifest and the artifacts that the manifest pins.
COMPANIONS = (REFERENCE_FILE, GOLDEN_FILE, "README.md")
NO_MANIFEST = "the file is missing (a Hugging Face directory needs a name: --name)"


def install(
    path: Path, models_dir: Path, limits: Limits, ref: Ref | None = None
) -> tuple[Ref, bool]:
    """Verify, try out and copy `path` into `models_dir`; (ref, whether it was not there before).

    `ref` names what is in a Hugging Face directory, which has no manifest: then one is written.
    A version that exists with the same digest is left as it is; with another one it is
    `VersionExists`. Raises `ModelError` subclasses, and nothing is left behind then. A version that
    only lacks a library or a GPU here is installed: another machine may have it.
    """
    with only_model_errors(path.name), _staging(models_dir) as staging:
        _collect(path, staging, limits, ref)
        manifest = read_manifest(staging)
        _check_files(staging, manifest)
        target = models_dir / manifest.name / manifest.version
        if _exists_already(target, manifest):
            return manifest.ref, False
        _try_out(Entry(manifest.ref, staging, manifest, None), limits)
        is_new = _move(staging, target, manifest)
        if is_new:
            keep_name_resolvable(models_dir, manifest.ref)
        return manifest.ref, is_new


@contextmanager
def _staging(models_dir: Path) -> Iterator[Path]:
    models_dir.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".install-", dir=models_dir))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _collect(path: Path, staging: Path, limits: Limits, ref: Ref | None) -> None:
    if path.is_dir() and ref is not None and not (path / MANIFEST_FILE).exists():
        _describe(path, staging, limits, ref)
    elif path.is_dir():
        _copy_directory(path, staging, limits)
    elif path.is_file() and is_archive(path):
        unpack(path, staging, limits.max_artifact_bytes)
    else:
        raise ArtifactInvalid(path.name, "expected a directory or a .zip, .tar or .tar.gz file")


def _describe(path: Path, staging: Path, limits: Limits, ref: Ref) -> None:
    manifest = describe(path, ref)
    write_manifest(staging, manifest)
    # Beside these there may be checkpoints, slow tokenizers and what else training has left.
    for file in sorted(_pinned(manifest)):
        _copy(path / file, staging / file, limits.max_artifact_bytes)


def _copy_directory(path: Path, staging: Path, limits: Limits) -> None:
    if not (path / MANIFEST_FILE).exists():
        raise ManifestInvalid(path.name, NO_MANIFEST)
    wanted = {MANIFEST_FILE, *COMPANIONS, *_pinned(read_manifest(path))}
    for file in sorted(path.iterdir()):
        if file.name.startswith("."):
            continue
        if file.name not in wanted:
            raise ArtifactInvalid(path.name, _unknown(file.name))
        _copy(file, staging / file.name, limits.max_artifact_bytes)


def _copy(source: Path, target: Path, max_bytes: int) -> None:
    try:
        opened = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise UnsafePath(source.name, f"cannot be copied ({error.strerror})") from error
    with open(opened, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise UnsafePath(source.name, "is not a regular file")
        if status.st_size > max_bytes:
            raise ArtifactUnsafe(source.name, f"is larger than {max_bytes} bytes")
        with target.open("xb") as copy:
            shutil.copyfileobj(file, copy)


def _check_files(staging: Path, manifest: Manifest) -> None:
    check_name(manifest.name, NAME_PATTERN)
    check_name(manifest.version, VERSION_PATTERN)
    present = {file.name for file in staging.iterdir()}
    pinned = _pinned(manifest)
    for name in sorted(pinned - present):
        raise ArtifactInvalid(str(manifest.ref), f"{name} is missing")
    for name in sorted(present - pinned - {MANIFEST_FILE, *COMPANIONS}):
        raise ArtifactInvalid(str(manifest.ref), _unknown(name))


def _pinned(manifest: Manifest) -> set[str]:
    return {artifact.file for artifact in manifest.artifacts}


def _unknown(name: str) -> str:
    allowed = ", ".join((MANIFEST_FILE, *COMPANIONS))
    return f"{name} is neither an artifact of the manifest nor one of {allowed}"


def _exists_already(target: Path, manifest: Manifest) -> bool:
    if not os.path.lexists(target):
        return False
    try:
        existing = read_manifest(target).digest
    except ModelError:
        existing = ""
    if existing != manifest.digest:
        raise VersionExists(str(manifest.ref))
    return True


def _try_out(entry: Entry, limits: Limits) -> None:
    read_artifacts(entry, limits)
    with suppress(LibraryMissing, DeviceMissing):
        load(entry, limits)


def _move(staging: Path, target: Path, manifest: Manifest) -> bool:
    target.parent.mkdir(exist_ok=True)
    if target.parent.is_symlink():
        raise UnsafePath(manifest.name, "the directory is a symbolic link")
    # mkdtemp gives 0700, and the workers may run as another user.
    staging.chmod(0o755)
    try:
        staging.rename(target)
    except OSError:
        # Somebody installed this version in the meantime.
        if _exists_already(target, manifest):
            return False
        raise
    return True
