"""The reference that drift is measured against."""

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.base import StepSpec
from app.models.reference import CONFIDENCE_EDGES, Histogram, Reference
from app.preprocessing.pipeline import Pipeline
from app.training.data import Labelled
from app.training.reference import measure

TRAINING = Labelled(["good day", "bad", "so so"], ["pos", "neg", "neg"])
HELD_OUT = Labelled(["good night", "", "BAD day out here"], ["pos", "neg", "neg"])
PROBABILITIES = np.array([[0.2, 0.8], [0.5, 0.5], [0.04, 0.96]])


def reference():
    spec = StepSpec(step="token_ids", options={"artifact": "v.json", "max_tokens": 4})
    pipeline = Pipeline.build([StepSpec(step="lowercase"), spec], lambda file: ["good", "bad"])
    return measure(TRAINING, HELD_OUT, PROBABILITIES, pipeline)


def counted(histogram):
    pairs = zip(histogram.edges, histogram.counts, strict=True)
    return {edge: count for edge, count in pairs if count}


@given(st.lists(st.floats(0, 1)))
def test_histogram_counts_every_value_once_in_its_bin(values):
    histogram = Histogram.of(values, CONFIDENCE_EDGES)

    bounds = [*CONFIDENCE_EDGES, float("inf")]
    assert histogram.counts == [
        sum(low <= value < high for value in values) for low, high in pairwise(bounds)
    ]


def test_histogram_keeps_values_outside_its_edges():
    assert Histogram.of([-5, 0, 99], [0, 10]).counts == [2, 1]


def test_training_part_gives_labels_and_lengths():
    found = reference()

    assert (found.training_texts, found.held_out_texts) == (3, 3)
    assert found.label_shares == {"neg": 0.666667, "pos": 0.333333}
    assert counted(found.characters) == {0: 3}
    assert counted(found.tokens) == {1: 1, 2: 2}


def test_held_out_part_gives_answers_and_unknown_tokens():
    found = reference()

    assert found.predicted_shares == {"neg": 0.333333, "pos": 0.666667}
    assert counted(found.confidence) == {0.5: 1, 0.8: 1, 0.95: 1}
    assert counted(found.unknown_tokens) == {0.0: 1, 0.5: 1, 0.7: 1}
    assert found.unknown_token_share == round(4 / 6, 6)


def test_held_out_part_gives_how_often_it_was_right():
    found = reference().quality

    assert found.confusion == {"pos": {"pos": 1}, "neg": {"neg": 1, "pos": 1}}
    assert [(b.texts, b.hits) for b in found.bins if b.texts] == [(1, 1), (1, 1), (1, 0)]
    assert found.scored == 3
    assert found.brier == pytest.approx(0.08 + 0.5 + 2 * 0.96**2)


def test_reference_of_an_older_training_has_no_quality():
    raw = msgspec.to_builtins(reference())
    del raw["quality"]

    assert msgspec.convert(raw, Reference).quality is None


def test_reference_comes_back_from_json_and_refuses_unknown_fields():
    encoded = msgspec.json.encode(reference())

    assert msgspec.json.decode(encoded, type=Reference) == reference()
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(encoded[:-1] + b',"more":1}', type=Reference)


def test_embedding_has_the_centroid_of_training_and_distances_of_held_out_texts():
    spec = StepSpec(step="token_ids", options={"artifact": "v.json", "max_tokens": 4})
    pipeline = Pipeline.build([spec], lambda file: ["good", "bad"])

    def embed(ids):
        return np.stack([(ids == 2).sum(1), (ids == 3).sum(1)], axis=1).astype(np.float32)

    found = measure(TRAINING, HELD_OUT, PROBABILITIES, pipeline, embed).embedding

    assert found.centroid == [0.333333, 0.333333]
    # "good night" lies at (1, 0), the others at (0, 0).
    assert sum(found.distances.counts) == 3
    assert found.distances.edges[0] == 0
    assert found.distances.edges[-1] == pytest.approx(0.7454 * 0.9 + 0.4714 * 0.1, abs=1e-3)
