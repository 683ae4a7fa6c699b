"""Worker process. Unpacks a zip or tar file that a stranger may have made, into a flat directory.

Only regular files are written, by their own names, without a path: there is nothing that could
lead out of the directory.
"""

import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, Protocol

from app.errors import ArtifactInvalid, ArtifactUnsafe, UnsafePath
from app.models.guard import only_model_errors

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
MAX_MEMBERS = 1_000
MAX_RATIO = 200
# Below this a high ratio is harmless, and an array of equal numbers has one.
MIN_RATIO_BYTES = 16 << 20
COPY_BYTES = 1 << 20


class Member(NamedTuple):
    """A file in an archive: its path, its size and how to get at its content."""

    path: PurePosixPath
    size_bytes: int
    source: zipfile.ZipInfo | tarfile.TarInfo


class _Opener(Protocol):
    def __call__(self, source: zipfile.ZipInfo | tarfile.TarInfo) -> IO[bytes] | None: ...


def is_archive(path: Path) -> bool:
    """Whether the name ends as one that `unpack` reads."""
    return path.name.endswith(SUFFIXES)


def max_inflated_bytes(size_bytes: int, max_bytes: int) -> int:
    """What an archive of so many bytes may inflate to, `max_bytes` at most."""
    return min(max_bytes, max(MIN_RATIO_BYTES, MAX_RATIO * size_bytes))


def unpack(path: Path, into: Path, max_bytes: int) -> None:
    """Write the files of the archive's one directory (or of its top level) into `into`.

    `UnsafePath` for a member that would leave it, is a link or a device; `ArtifactUnsafe` for too
    many members or more than `max_bytes` altogether; `ArtifactInvalid` where it cannot be read.
    """
    with only_model_errors(path.name), _opened(path) as (members, opener):
        allowed = max_inflated_bytes(path.stat().st_size, max_bytes)
        for member in _flat(_checked(members, allowed, path.name), path.name):
            _write(member, opener, into / member.path.name)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Iterator[Member], _Opener]]:
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            yield _zip_members(archive), archive.open  # type: ignore[misc]
    else:
        with tarfile.open(path) as tar:
            yield _tar_members(tar), tar.extractfile  # type: ignore[misc]


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        path = _safe(info.filename)
        # The upper half of external_attr holds the Unix mode; zero where none was stored.
        kind = (info.external_attr >> 16) & 0o170000
        if kind not in (0, 0o100000, 0o040000):
            raise UnsafePath(info.filename[:200], "is a link or a device")
        if not info.is_dir():
            yield Member(path, info.file_size, info)


def _tar_members(tar: tarfile.TarFile) -> Iterator[Member]:
    for info in tar:
        path = _safe(info.name)
        if not info.isfile() and not info.isdir():
            raise UnsafePath(info.name[:200], "is a link or a device")
        if info.isfile():
            yield Member(path, info.size, info)


def _safe(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name:
        raise UnsafePath(name[:200], "would leave the directory of the archive")
    return path


def _checked(members: Iterator[Member], max_bytes: int, archive: str) -> list[Member]:
    found: list[Member] = []
    total = 0
    for member in members:
        # Reading on through a tar file inflates it, so the first member too many ends it.
        total += member.size_bytes
        if len(found) == MAX_MEMBERS:
            raise ArtifactUnsafe(archive, f"more than {MAX_MEMBERS} files")
        if total > max_bytes:
            raise ArtifactUnsafe(archive, f"would inflate to more than {max_bytes} bytes")
        if not _is_junk(member.path):
            found.append(member)
    return found


def _is_junk(path: PurePosixPath) -> bool:
    # What desktop systems add to archives.
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _flat(members: list[Member], archive: str) -> list[Member]:
    folders = {member.path.parent for member in members}
    names = {member.path.name for member in members}
    if len(folders) > 1 or any(len(folder.parts) > 1 for folder in folders):
        raise ArtifactInvalid(archive, "expected the files of one version in one directory")
    if len(names) != len(members):
        raise ArtifactUnsafe(archive, "holds two files of one name")
    return members


def _write(member: Member, opener: _Opener, target: Path) -> None:
    with target.open("xb") as file:
        content = opener(member.source)
        if content is None:
            return
        with content:
            left = member.size_bytes
            while left > 0 and (block := content.read(min(left, COPY_BYTES))):
                file.write(block)
                left -= len(block)
