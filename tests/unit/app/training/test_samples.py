"""The sample models in the repository are what their manifests say."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from app.models.base import Ref
from app.models.catalog import Catalog, read_manifest
from app.models.golden import DEFAULT_TOLERANCE, GOLDEN_FILE, decode
from app.models.loader import load
from app.models.manifest_file import write_manifest
from app.models.reference import REFERENCE_FILE, Reference
from app.settings import Limits
from app.training.golden import MAX_TEXTS
from app.training.split import is_held_out

ROOT = Path(__file__).parents[4]
MAX_BYTES = 5_000_000
# What caches, jobs and installed copies of them go by.
DIGESTS = {
    "v1": "8d3d11049a88c3d89dafa28a763e7bd0a30a58cc04f84c75440ac8111d5233d7",
    "v2": "c64a408a2a9eed91482db9f8c7df635cb524db1fc4c19dc074750c79fa698907",
    "v3": "2e0901fcea660108f8ccccd96b09808ad66bc82769724d373908db78a98713a1",
}
ROWS = [
    msgspec.json.decode(line, type=dict[str, str])
    for line in (ROOT / "tests/data/held_out.jsonl").read_bytes().splitlines()
]


def sample(version):
    return Catalog(ROOT / "models", "sentiment").get(Ref("sentiment", version))


def test_test_texts_are_held_out_by_the_rule():
    assert len(ROWS) == 250
    assert all(is_held_out(row["text"]) for row in ROWS)


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_sample_is_as_good_on_test_texts_as_it_says(version):
    model = load(sample(version), Limits(), "cpu")

    cleaned = [model.pipeline.clean(row["text"]) for row in ROWS]
    found = model.predictor.predict_proba(model.pipeline.extract(cleaned)).argmax(axis=1)

    hits = [model.labels[at] == row["label"] for at, row in zip(found, ROWS, strict=True)]
    # Four standard errors of a share of 250 texts.
    assert abs(np.mean(hits) - model.manifest.metadata.accuracy) < 0.12


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_sample_is_small_and_has_its_reference(version):
    entry = sample(version)

    reference = msgspec.json.decode((entry.path / REFERENCE_FILE).read_bytes(), type=Reference)
    assert sum(file.stat().st_size for file in entry.path.iterdir()) <= MAX_BYTES
    assert reference.held_out_texts == entry.manifest.metadata.training_data.held_out_texts
    assert sum(reference.confidence.counts) == reference.held_out_texts
    assert sum(reference.characters.counts) == reference.training_texts


@pytest.mark.parametrize(("version", "digest"), DIGESTS.items())
def test_sample_keeps_its_digest_when_its_manifest_is_written_again(version, digest, tmp_path):
    manifest = sample(version).manifest

    write_manifest(tmp_path, manifest)

    assert manifest.digest == digest
    assert read_manifest(tmp_path) == manifest


def test_default_sample_is_the_best_one():
    accuracy = {v: sample(v).manifest.metadata.accuracy for v in ("v1", "v2", "v3")}

    assert max(accuracy, key=accuracy.get) == "v2"
    catalog = Catalog(ROOT / "models", "sentiment")
    assert catalog.resolve("sentiment") == Ref("sentiment", "v2")


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_sample_has_golden_texts_that_nothing_was_learned_from(version):
    """That it answers them is part of every load."""
    content = (sample(version).path / GOLDEN_FILE).read_bytes()

    rows = decode(content, f"sentiment-{version}", sample(version).manifest.labels)

    assert len(rows) == MAX_TEXTS
    assert all(is_held_out(row.text) for row in rows)
    assert {row.tolerance for row in rows} == {DEFAULT_TOLERANCE}
    assert all(sum(row.probabilities.values()) == pytest.approx(1, abs=1e-5) for row in rows)
