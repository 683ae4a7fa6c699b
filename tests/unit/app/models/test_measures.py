"""Live traffic is counted as training counted the reference: same texts, same counts."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from app.models import reference
from app.models.base import Ref
from app.models.catalog import Catalog
from app.models.loader import load
from app.settings import Limits
from app.training.data import Labelled
from app.training.reference import measure
from tests.models import LABELS, LIMITS, build_model, entry
from tests.references import measured

ROOT = Path(__file__).parents[4]
ROWS = [
    msgspec.json.decode(line, type=dict[str, str])
    for line in (ROOT / "tests/data/held_out.jsonl").read_bytes().splitlines()
]
TEXTS = [row["text"] for row in ROWS]


def answers(model, texts):
    cleaned = [model.pipeline.clean(text) for text in texts]
    features = model.pipeline.extract(cleaned)
    if model.embedder is None:
        return cleaned, model.predictor.predict_proba(features), None
    return cleaned, *model.embedder.predict_embedded(features)


def counted(model, texts):
    places = model.measures.places(texts, *answers(model, texts))
    return model.measures.by_feature(model.measures.count(places))


@pytest.mark.parametrize("version", ["v1", "v3"])
def test_traffic_is_counted_as_training_counts(version):
    path = Catalog(ROOT / "models", "sentiment").get(Ref("sentiment", version))
    model = load(path, Limits(), "cpu")
    rows = Labelled(TEXTS, [row["label"] for row in ROWS])
    _, probabilities, _ = answers(model, TEXTS)

    expected = measure(rows, rows, probabilities, model.pipeline)
    live = counted(model, TEXTS)

    assert live["labels"] == expected.predicted_counts(model.labels)
    for name, histogram in expected.histograms().items():
        assert live[name] == histogram.counts


def test_distances_are_those_to_the_centroid_of_the_reference():
    path = Catalog(ROOT / "models", "sentiment").get(Ref("sentiment", "v3"))
    model = load(path, Limits(), "cpu")
    embedding = reference.read(path.path, path.manifest).reference.embedding
    _, _, embedded = answers(model, TEXTS)

    distances = np.linalg.norm(embedded - np.array(embedding.centroid), axis=1)
    expected = reference.Histogram.of(distances.tolist(), embedding.distances.edges)

    assert counted(model, TEXTS)["distance"] == expected.counts
    # Twenty quantiles of texts of the same kind.
    assert max(expected.counts) < 250 * 0.15


def test_model_without_vocabulary_has_no_unknown_tokens(tmp_path):
    path = build_model(tmp_path)
    model = measured(load(entry(path), LIMITS), path)

    live = counted(model, ["good day", "bad night, and a long one"])

    assert sum(live["unknown_tokens"]) == 0
    assert sum(live["labels"]) == sum(live["confidence"]) == 2
    assert live["characters"] == [0, 1, 0, 1]
    assert len(live["labels"]) == len(LABELS)
