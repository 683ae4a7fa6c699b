"""The files of a version are those that its manifest pins, or nothing of them is parsed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import ArtifactInvalid, ArtifactMismatch, ArtifactUnsafe, ModelError
from app.models.catalog import Entry
from app.models.loader import load
from app.settings import Limits
from tests.models import LIMITS, build_model, entry, skops_bytes

FILE = "model.skops"


def truncate(path: Path) -> None:
    (path / FILE).write_bytes((path / FILE).read_bytes()[:-100])


def flip_one_byte(path: Path) -> None:
    content = bytearray((path / FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (path / FILE).write_bytes(content)


def append(path: Path) -> None:
    (path / FILE).write_bytes((path / FILE).read_bytes() + b"x")


def remove(path: Path) -> None:
    (path / FILE).unlink()


def replace_by_link(path: Path) -> None:
    (path / FILE).rename(path.parent / "elsewhere")
    (path / FILE).symlink_to(path.parent / "elsewhere")


def replace_by_pipe(path: Path) -> None:
    (path / FILE).unlink()
    os.mkfifo(path / FILE)


def replace_by_directory(path: Path) -> None:
    (path / FILE).unlink()
    (path / FILE).mkdir()


@pytest.mark.parametrize(
    ("damage", "error", "sentence"),
    [
        (truncate, ArtifactMismatch, "bytes, the manifest says"),
        (append, ArtifactMismatch, "bytes, the manifest says"),
        (flip_one_byte, ArtifactMismatch, "is sha256"),
        (remove, ArtifactInvalid, "No such file"),
        (replace_by_link, ArtifactInvalid, "symbolic links"),
        (replace_by_pipe, ArtifactUnsafe, "not a regular file"),
        (replace_by_directory, ArtifactInvalid, "Is a directory"),
    ],
)
def test_artifact_that_is_not_the_pinned_one_is_refused(
    version: Path, damage: Callable[[Path], None], error: type[ModelError], sentence: str
) -> None:
    damage(version)

    with pytest.raises(error, match=sentence) as caught:
        load(entry(version), LIMITS)

    assert str(version.parent) not in str(caught.value)


@pytest.mark.timeout(10)
def test_digest_is_verified_before_anything_is_parsed(tmp_path: Path) -> None:
    """A file that is no skops file at all fails by its digest, not in the parser."""
    path = build_model(tmp_path, files={FILE: b"garbage"})
    (path / FILE).write_bytes(b"Garbage")

    with pytest.raises(ArtifactMismatch):
        load(entry(path), LIMITS)


def test_artifacts_that_are_too_large_together_are_not_read(tmp_path: Path) -> None:
    files = {FILE: skops_bytes(), "more.json": bytes(1000)}
    path = build_model(tmp_path, files=files)
    limits = Limits(max_artifact_bytes=len(skops_bytes()) + 999)
    (path / FILE).unlink()

    with pytest.raises(ArtifactUnsafe, match="bytes of artifacts, allowed are"):
        load(entry(path), limits)


def test_version_directory_that_is_a_link_is_refused(version: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(version)
    found = entry(version)

    with pytest.raises(ArtifactInvalid):
        load(Entry(found.ref, tmp_path / "link", found.manifest, None), LIMITS)


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", skops_bytes()[:5000], b"PK\x05\x06" + bytes(18)],
    ids=["empty", "no zip", "half a zip", "empty zip"],
)
def test_pinned_garbage_is_an_invalid_artifact(tmp_path: Path, content: bytes) -> None:
    path = build_model(tmp_path, files={FILE: content})

    with pytest.raises(ArtifactInvalid):
        load(entry(path), LIMITS)
