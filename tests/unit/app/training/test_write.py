"""A version is written whole or not at all, and never over another one."""

import os

import msgspec
import pytest

from app.errors import VersionExists
from app.models.base import Manifest, Metadata
from app.models.catalog import read_manifest
from app.models.manifest_file import pin
from app.models.reference import REFERENCE_FILE, Histogram, Reference
from app.training.write import write

BINS = Histogram(edges=[0], counts=[1])
REFERENCE = Reference(
    training_texts=1,
    held_out_texts=1,
    label_shares={"a": 1.0},
    characters=BINS,
    tokens=BINS,
    predicted_shares={"a": 1.0},
    confidence=BINS,
    unknown_tokens=BINS,
    unknown_token_share=0.5,
)
CONTENT = {"classifier.skops": b"weights"}


def manifest(content, **metadata):
    return Manifest(
        name="film",
        version="v1",
        format="skops",
        labels=["a", "b"],
        artifacts=pin(content),
        metadata=Metadata(**metadata),
    )


def test_write_gives_a_directory_that_the_catalog_can_read(tmp_path):
    written = manifest(CONTENT, description="naïve: 'yes'\n")

    path = write(tmp_path / "models", written, CONTENT, REFERENCE)

    assert path == tmp_path / "models" / "film" / "v1"
    assert read_manifest(path) == written
    assert (path / "classifier.skops").read_bytes() == b"weights"
    encoded = (path / REFERENCE_FILE).read_bytes()
    assert msgspec.json.decode(encoded, type=Reference) == REFERENCE


def test_write_leaves_a_version_with_the_same_digest_as_it_is(tmp_path):
    first = manifest(CONTENT, trained_at="monday")
    write(tmp_path, first, CONTENT, REFERENCE)

    path = write(tmp_path, manifest(CONTENT, trained_at="tuesday"), CONTENT, REFERENCE)

    assert read_manifest(path) == first


def test_write_refuses_another_digest_and_leaves_nothing_behind(tmp_path):
    path = write(tmp_path, manifest(CONTENT), CONTENT, REFERENCE)
    other = {"classifier.skops": b"other weights"}

    with pytest.raises(VersionExists, match="film-v1"):
        write(tmp_path, manifest(other), other, REFERENCE)

    assert (path / "classifier.skops").read_bytes() == b"weights"
    assert os.listdir(tmp_path / "film") == ["v1"]


def test_write_that_fails_midway_leaves_nothing_behind(tmp_path):
    content = {**CONTENT, "no/such/folder.bin": b""}

    with pytest.raises(FileNotFoundError):
        write(tmp_path, manifest(CONTENT), content, REFERENCE)

    assert os.listdir(tmp_path / "film") == []
