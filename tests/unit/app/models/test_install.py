"""Taking a version in: from a directory or an archive, whole or not at all."""

import io
import os
import shutil
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import skops.io

from app.errors import (
    ArtifactInvalid,
    ArtifactMismatch,
    ArtifactUnsafe,
    LibraryMismatch,
    ManifestInvalid,
    UnsafePath,
    VersionExists,
)
from app.models import archives
from app.models.base import Ref
from app.models.catalog import Catalog
from app.models.install import install
from app.models.loader import load
from app.settings import Limits
from tests.models import LIMITS, build_model, edit_manifest, entry, train
from tests.torch_models import build_torch_model

TINY = Ref("tiny", "v1")


@pytest.fixture
def source(tmp_path):
    return build_model(tmp_path / "source")


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


def zipped(path, target, prefix=""):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in path.iterdir():
            archive.write(file, prefix + file.name)
    return target


def tarred(path, target, prefix=""):
    with tarfile.open(target, "w:gz" if target.name.endswith("gz") else "w") as archive:
        archive.add(path, prefix or ".")
    return target


def nothing_was_left_in(models):
    return not models.exists() or list(models.iterdir()) == []


@pytest.mark.parametrize(
    "pack",
    [
        lambda path, to: path,
        lambda path, to: zipped(path, to / "m.zip"),
        lambda path, to: zipped(path, to / "m.zip", "tiny-v1/"),
        lambda path, to: tarred(path, to / "m.tar"),
        lambda path, to: tarred(path, to / "m.tar.gz", "tiny-v1"),
        lambda path, to: tarred(path, to / "m.tgz"),
    ],
    ids=["directory", "zip", "zip with a folder", "tar", "tar.gz with a folder", "tgz"],
)
def test_version_is_taken_in_and_answers(source, models, tmp_path, pack):
    (source / "README.md").write_text("about")

    found = install(pack(source, tmp_path), models, LIMITS)

    assert found == (TINY, True)
    assert load(Catalog(models, "tiny").get(TINY), LIMITS).ref == "tiny-v1"
    assert (models / "tiny/v1/README.md").read_text() == "about"
    assert {path.name for path in models.iterdir()} == {"tiny", "active.json"}


def test_lone_version_is_active_at_once(source, models):
    install(source, models, LIMITS)

    assert Catalog(models, "tiny").resolve("tiny") == TINY


def test_same_version_again_changes_nothing(source, models):
    install(source, models, LIMITS)
    before = (models / "tiny/v1").stat()

    assert install(source, models, LIMITS) == (TINY, False)
    assert (models / "tiny/v1").stat() == before


def test_another_digest_under_the_same_version_is_refused(source, models, tmp_path):
    install(source, models, LIMITS)
    other = build_model(tmp_path / "other", strength=1.0)

    with pytest.raises(VersionExists):
        install(other, models, LIMITS)

    assert load(entry(models / "tiny/v1"), LIMITS).digest == load(entry(source), LIMITS).digest


def test_two_at_once_install_one(source, models):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: install(source, models, LIMITS), range(4)))

    assert sorted(is_new for _, is_new in found) == [False, False, False, True]
    assert {path.name for path in models.iterdir()} == {"tiny", "active.json"}


def test_other_users_can_read_what_was_installed(source, models):
    install(source, models, LIMITS)

    assert (models / "tiny/v1").stat().st_mode & 0o777 == 0o755


def change_artifact(source):
    content = bytearray((source / "model.skops").read_bytes())
    content[-1] ^= 1
    (source / "model.skops").write_bytes(content)


def use_wrong_library(source):
    edit_manifest(source, libraries={"scikit-learn": "0.1"})


def link_artifact(source):
    (source / "model.skops").rename(source.parent / "elsewhere")
    (source / "model.skops").symlink_to(source.parent / "elsewhere")


def pipe_artifact(source):
    (source / "model.skops").unlink()
    os.mkfifo(source / "model.skops")


def claim_name(name):
    def change(source):
        text = (source / "model.yaml").read_text()
        (source / "model.yaml").write_text(text.replace("name: tiny", f"name: {name}"))

    return change


@pytest.mark.parametrize(
    ("damage", "error", "sentence"),
    [
        (change_artifact, ArtifactMismatch, "sha256"),
        (lambda path: (path / "model.skops").unlink(), ArtifactInvalid, "model.skops is missing"),
        (lambda path: (path / "model.yaml").unlink(), ManifestInvalid, "is missing"),
        (lambda path: (path / "notes.txt").write_text("x"), ArtifactInvalid, "notes.txt is neith"),
        (lambda path: (path / "sub").mkdir(), ArtifactInvalid, "sub is neither"),
        (link_artifact, UnsafePath, "symbolic links"),
        (pipe_artifact, UnsafePath, "not a regular file"),
        (use_wrong_library, LibraryMismatch, "written with scikit-learn 0.1"),
        (claim_name("../../etc"), ManifestInvalid, "matching regex"),
        (claim_name("a..b"), UnsafePath, "without '..'"),
        (claim_name("Tiny"), ManifestInvalid, "matching regex"),
    ],
    ids=[
        "changed artifact",
        "artifact missing",
        "manifest missing",
        "unknown file",
        "directory",
        "link",
        "pipe",
        "other library",
        "path as name",
        "dots in the name",
        "capital in the name",
    ],
)
def test_wrong_directory_is_refused_and_leaves_nothing(source, models, damage, error, sentence):
    damage(source)

    with pytest.raises(error, match=sentence):
        install(source, models, LIMITS)

    assert nothing_was_left_in(models)


def test_version_that_cannot_answer_is_refused(models, tmp_path):
    broken = train()
    broken[-1].coef_[:] = float("nan")
    source = build_model(tmp_path, files={"model.skops": skops.io.dumps(broken)})

    with pytest.raises(ArtifactInvalid, match="NaN"):
        install(source, models, LIMITS)

    assert nothing_was_left_in(models)


def test_version_for_a_gpu_is_taken_in_on_a_machine_without_one(models, tmp_path):
    source = build_torch_model(tmp_path, device="gpu")

    assert install(source, models, Limits()) == (TINY, True)


def test_artifact_of_a_version_that_cannot_be_tried_is_verified_too(models, tmp_path):
    source = build_torch_model(tmp_path, device="gpu")
    content = bytearray((source / "vocabulary.json").read_bytes())
    content[3] ^= 1
    (source / "vocabulary.json").write_bytes(content)

    with pytest.raises(ArtifactMismatch):
        install(source, models, Limits())


def test_files_that_desktops_add_are_skipped(source, models, tmp_path):
    (source / ".DS_Store").write_bytes(b"x")
    archive = zipped(source, tmp_path / "m.zip", "tiny/")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("__MACOSX/tiny/._model.yaml", b"x")

    assert install(archive, models, LIMITS) == (TINY, True)
    assert not (models / "tiny/v1/.DS_Store").exists()


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


@pytest.mark.parametrize("name", ["missing", "model.skops"])
def test_path_that_is_neither_directory_nor_archive_is_refused(source, models, name):
    with pytest.raises(ArtifactInvalid, match="expected a directory"):
        install(source / name, models, LIMITS)


def test_models_directory_of_the_name_that_is_a_link_is_refused(source, models, tmp_path):
    models.mkdir()
    (tmp_path / "outside").mkdir()
    (models / "tiny").symlink_to(tmp_path / "outside")

    with pytest.raises(UnsafePath):
        install(source, models, LIMITS)

    assert list((tmp_path / "outside").iterdir()) == []
