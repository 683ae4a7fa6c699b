"""Taking a version in: from a directory or an archive, whole or not at all."""

import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.errors import ArtifactMismatch, VersionExists
from app.models.base import Ref
from app.models.catalog import Catalog
from app.models.install import install
from app.models.loader import load
from app.settings import Limits
from tests.models import LIMITS, build_model, entry
from tests.torch_models import build_torch_model
from tests.unit.app.models.packing import tarred, zipped

TINY = Ref("tiny", "v1")


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
