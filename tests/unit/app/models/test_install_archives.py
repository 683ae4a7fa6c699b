"""Archives that are not taken in: they would escape, are too large, or are damaged."""

import io
import shutil
import tarfile
import zipfile

import pytest

from app.errors import (
    ArtifactInvalid,
    ArtifactMismatch,
    ArtifactUnsafe,
    ManifestInvalid,
    UnsafePath,
)
from app.models import archives
from app.models.install import install
from app.settings import Limits
from tests.models import LIMITS
from tests.unit.app.models.packing import nothing_was_left_in, tarred, zipped


def zip_with(source, target, name, mode=0):
    archive = zipped(source, target / "m.zip")
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(info, b"/etc/passwd")
    return archive


def tar_with(source, target, name, kind=tarfile.REGTYPE, link=""):
    archive = target / "m.tar"
    with tarfile.open(archive, "w") as opened:
        opened.add(source, ".")
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, link, 0
        opened.addfile(info, io.BytesIO())
    return archive


ESCAPES = ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "C:evil"]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("pack", [zip_with, tar_with], ids=["zip", "tar"])
def test_member_that_would_leave_the_archive_is_refused(source, models, tmp_path, pack, name):
    with pytest.raises(UnsafePath, match="would leave"):
        install(pack(source, tmp_path, name), models, LIMITS)

    assert nothing_was_left_in(models)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_link_or_device_in_a_tar_file_is_refused(source, models, tmp_path, kind):
    archive = tar_with(source, tmp_path, "reference.json", kind, "/etc/passwd")

    with pytest.raises(UnsafePath, match="link or a device"):
        install(archive, models, LIMITS)

    assert nothing_was_left_in(models)


def test_symbolic_link_in_a_zip_file_is_refused(source, models, tmp_path):
    archive = zip_with(source, tmp_path, "reference.json", mode=0o120777)

    with pytest.raises(UnsafePath, match="link or a device"):
        install(archive, models, LIMITS)


def test_archive_that_inflates_enormously_is_refused(source, models, tmp_path):
    (source / "reference.json").write_bytes(bytes(17 << 20))
    archive = zipped(source, tmp_path / "m.zip")

    with pytest.raises(ArtifactUnsafe, match="would inflate"):
        install(archive, models, LIMITS)

    assert nothing_was_left_in(models)


def test_archive_larger_than_the_limit_is_refused(source, models, tmp_path):
    with pytest.raises(ArtifactUnsafe, match="more than 1000 bytes"):
        install(zipped(source, tmp_path / "m.zip"), models, Limits(max_artifact_bytes=1000))


def test_archive_with_too_many_files_is_refused(source, models, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 1)

    with pytest.raises(ArtifactUnsafe, match="more than 1 files"):
        install(tarred(source, tmp_path / "m.tar"), models, LIMITS)


def test_archive_of_several_versions_is_refused(source, models, tmp_path):
    shutil.copytree(source, tmp_path / "pair/a")
    shutil.copytree(source, tmp_path / "pair/b")

    with pytest.raises(ArtifactInvalid, match="one version in one directory"):
        install(tarred(tmp_path / "pair", tmp_path / "m.tar"), models, LIMITS)


@pytest.mark.parametrize("name", ["m.zip", "m.tar", "m.tar.gz"])
@pytest.mark.parametrize("share", [0, 0.001, 0.5], ids=["empty", "a few bytes", "half"])
def test_damaged_archive_is_refused(source, models, tmp_path, name, share):
    pack = zipped if name.endswith("zip") else tarred
    archive = pack(source, tmp_path / name)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * share)])

    with pytest.raises((ArtifactInvalid, ArtifactMismatch, ManifestInvalid)) as caught:
        install(archive, models, LIMITS)

    assert str(tmp_path) not in str(caught.value)
    assert nothing_was_left_in(models)
