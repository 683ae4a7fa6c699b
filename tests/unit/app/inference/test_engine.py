"""Outcomes of a chunk: their order, their isolation from each other, and the deadline."""

import dataclasses
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.contract import Chunk, ChunkResult
from app.inference.engine import EXPIRED, TEXT_FAILED, predict
from app.models.loader import load
from tests.models import LABELS, LIMITS, build_model, entry

POISON = "poison"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(entry(build_model(tmp_path_factory.mktemp("models"))), LIMITS)


def run(model, texts, batch=32, deadline=10.0, now=lambda: 0.0):
    chunk = Chunk(ref=model.ref, texts=texts, deadline=deadline, request_ids=["r"])
    return predict(model, chunk, max_batch_size=batch, now=now)


class PoisonedPipeline:
    """The model's pipeline, in which one word fails while it is cleaned or extracted."""

    def __init__(self, real, stage):
        self._real = real
        self._stage = stage
        self.error = ValueError

    def clean(self, text):
        if self._stage == "clean" and POISON in text:
            raise RuntimeError("secret words")
        return self._real.clean(text)

    def extract(self, cleaned):
        if self._stage == "extract" and any(POISON in text for text in cleaned):
            raise self.error("secret words")
        return self._real.extract(cleaned)


class PoisonedPredictor:
    """The model's predictor, which gives NaN for a batch with one word in it."""

    def __init__(self, real):
        self._real = real
        self.batches = []

    def predict_proba(self, features):
        self.batches.append(len(features))
        found = self._real.predict_proba(features)
        return found * float("nan") if any(POISON in text for text in features) else found


def poisoned(model, stage):
    if stage == "predict":
        return dataclasses.replace(model, predictor=PoisonedPredictor(model.predictor))
    return dataclasses.replace(model, pipeline=PoisonedPipeline(model.pipeline, stage))


def labels_of(result):
    return [
        outcome.error.code
        if outcome.error
        else result.labels[outcome.probabilities.index(max(outcome.probabilities))]
        for outcome in result.outcomes
    ]


def test_chunk_is_answered_in_its_order(model):
    result = run(model, ["Good day", "BAD night", "table"], batch=2)

    assert labels_of(result) == ["positive", "negative", "neutral"]
    assert result.labels == list(LABELS)
    assert result.ref == "tiny-v1"
    assert result.preprocess_s > 0
    assert result.inference_s > 0


def test_result_survives_the_way_back(model):
    result = run(model, ["good day"])

    assert ChunkResult.from_message(result.to_message()) == result
    # What is 0 is not sent: a linear model has no tokens.
    assert "padded_tokens" not in result.to_message()
    assert not result.tokens


@pytest.mark.parametrize("stage", ["clean", "extract", "predict"])
def test_one_bad_text_never_fails_its_neighbours(model, stage, caplog):
    texts = ["good day", f"{POISON} pill", "bad night", "table"]

    result = run(poisoned(model, stage), texts)

    assert labels_of(result) == ["positive", "text_failed", "negative", "neutral"]
    assert result.outcomes[1] == TEXT_FAILED
    assert result.outcomes[0].probabilities == run(model, texts[:1]).outcomes[0].probabilities
    assert "secret" not in caplog.text
    assert POISON not in caplog.text


def test_text_that_memory_is_too_short_for_fails_as_that(model):
    watched = poisoned(model, "extract")
    watched.pipeline.error = MemoryError

    result = run(watched, ["good day", POISON, "bad night"])

    assert labels_of(result) == ["positive", "text_out_of_memory", "negative"]


def test_all_texts_may_fail(model):
    result = run(poisoned(model, "clean"), [POISON] * 3)

    assert result.outcomes == [TEXT_FAILED] * 3


def test_forward_pass_never_exceeds_the_batch_size(model):
    watched = poisoned(model, "predict")

    run(watched, ["good day"] * 10, batch=4)

    assert watched.predictor.batches == [4, 4, 2]


def test_expired_chunk_is_not_computed(model):
    watched = poisoned(model, "predict")

    result = run(watched, ["good day"] * 3, deadline=10.0, now=lambda: 10.0)

    assert result.outcomes == [EXPIRED] * 3
    assert watched.predictor.batches == []


def test_deadline_is_looked_at_between_batches(model):
    readings = iter([8.0, 9.0, 10.0, 11.0])

    result = run(model, ["good day"] * 7, batch=2, deadline=10.0, now=lambda: next(readings))

    assert labels_of(result) == ["positive"] * 4 + ["expired"] * 3


def test_deadline_is_looked_at_while_texts_are_tried_one_by_one(model):
    readings = iter([0.0, 8.0, 9.0, 10.0])

    result = run(
        poisoned(model, "extract"),
        [POISON, "good day", "good day"],
        deadline=10.0,
        now=lambda: next(readings),
    )

    assert labels_of(result) == ["text_failed", "positive", "expired"]


def test_chunk_without_texts_has_no_outcomes(model):
    assert run(model, []).outcomes == []


@given(
    words=st.lists(
        st.sampled_from(["good day", "bad night", "table", POISON, "", "ünï\U0001f600"])
    ),
    batch=st.integers(1, 9),
)
@settings(max_examples=40, deadline=None)
def test_every_text_has_its_own_outcome_whatever_the_batches(model, words, batch):
    alone = {word: run(poisoned(model, "extract"), [word]).outcomes[0] for word in set(words)}

    together = run(poisoned(model, "extract"), words, batch).outcomes

    assert len(together) == len(words)
    for word, outcome in zip(words, together, strict=True):
        assert outcome.error == alone[word].error
        assert outcome.probabilities == pytest.approx(alone[word].probabilities, abs=1e-9)


@given(texts=st.lists(st.text(max_size=40), max_size=12), batch=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_any_text_gets_probabilities_that_sum_to_one(model, texts, batch):
    outcomes = run(model, texts, batch, deadline=time.time() + 60, now=time.time).outcomes

    assert [sum(outcome.probabilities) for outcome in outcomes] == pytest.approx([1.0] * len(texts))
