"""Directories that are not taken in: what is wrong with them is told, and nothing is left."""

import os

import pytest
import skops.io

from app.errors import (
    ArtifactInvalid,
    ArtifactMismatch,
    LibraryMismatch,
    ManifestInvalid,
    UnsafePath,
)
from app.models.install import install
from tests.models import LIMITS, build_model, edit_manifest, train
from tests.unit.app.models.packing import nothing_was_left_in


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
