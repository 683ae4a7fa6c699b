"""reference.json as it is found in a version's directory: usable, or as if it were not there."""

import os

import msgspec
import pytest

from app.models.catalog import read_manifest
from app.models.loader import load
from app.models.reference import MAX_REFERENCE_BYTES, REFERENCE_FILE, Histogram, read
from tests.models import LIMITS, build_model, edit_manifest, entry
from tests.references import give_reference, make_reference


@pytest.fixture
def version(tmp_path):
    return give_reference(build_model(tmp_path))


def found(path):
    return read(path, read_manifest(path))


def rewrite(path, **changes):
    fields = msgspec.to_builtins(make_reference()) | changes
    (path / REFERENCE_FILE).write_bytes(msgspec.json.encode(fields))


def test_reference_is_read_as_it_was_written(version):
    assert found(version).reference == make_reference()


@pytest.mark.parametrize(
    "changes",
    [
        {"held_out_texts": 0},
        {"predicted_shares": {"other": 1.0}},
        {"confidence": {"edges": [0, 0.5], "counts": [1]}},
        {"confidence": {"edges": [0.5, 0], "counts": [1, 1]}},
        {"confidence": {"edges": [0, 0.5], "counts": [0, 0]}},
        {"confidence": {"edges": [0, 0.5], "counts": [-1, 2]}},
        {"characters": {"edges": [], "counts": []}},
        {"characters": {"edges": list(range(1000)), "counts": [1] * 1000}},
        {"unheard_of": 1},
        {"reference": 2},
    ],
    ids=str,
)
def test_reference_that_makes_no_sense_is_none(version, changes):
    rewrite(version, **changes)

    assert found(version) is None


def test_file_that_is_no_reference_is_none(version):
    file = version / REFERENCE_FILE
    for content in (b"", b"{", b"[]", b'{"\xff": 1}', b" " * (MAX_REFERENCE_BYTES + 1)):
        file.write_bytes(content)
        assert found(version) is None
    file.unlink()
    assert found(version) is None
    os.mkfifo(file)
    assert found(version) is None
    file.unlink()
    file.symlink_to(version / "elsewhere")
    assert found(version) is None


def test_version_without_usable_reference_loads_all_the_same(version):
    assert load(entry(version), LIMITS).measures is not None
    (version / REFERENCE_FILE).write_bytes(b"{")

    assert load(entry(version), LIMITS).measures is None


def test_key_changes_with_the_file_and_with_what_decides_an_answer(version):
    first = found(version).key
    give_reference(version, confidence=Histogram(edges=[0.0, 0.5], counts=[1, 2]))
    second = found(version).key
    edit_manifest(version, labels=["negative", "positive", "neutral"])
    third = found(version).key

    assert len({first, second, third}) == 3
    assert {key.partition(":")[0] for key in (first, second, third)} == {"tiny-v1"}
