"""Batches that are counted in tokens: what they hold, their order, and what fails."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.contract import Chunk
from app.inference.engine import EXPIRED, OUT_OF_MEMORY, TEXT_FAILED, predict
from app.models.base import Batching
from app.models.budget import TokenBudget
from app.models.loader import LoadedModel, load
from tests.hugging_face_models import build_transformer
from tests.models import LIMITS, entry

WORDS = ["good", "bad", "table", "day", "night"]
TEXTS = st.lists(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=15).map(" ".join), max_size=20
)


class Watched:
    """The model's predictor, which notes its batches and fails as it is told to."""

    def __init__(self, real, pads=True, max_tokens=10**9, poison_tokens=None):
        self._real = real
        self.pads = pads
        self._max_tokens = max_tokens
        self._poison_tokens = poison_tokens
        self.batches = []

    def predict_proba(self, texts):
        self.batches.append(list(texts.lengths))
        if texts.cost(self.pads) > self._max_tokens:
            raise MemoryError
        if self._poison_tokens in texts.lengths:
            raise ValueError("secret words")
        return self._real.predict_proba(texts)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return load(entry(build_transformer(tmp_path_factory.mktemp("models"))), LIMITS)


def watched(real, max_batch_tokens=32, pads=True, **faults):
    fields = {name: getattr(real, name) for name in LoadedModel.__dataclass_fields__}
    batching = Batching(cost="padded_tokens", max_batch_tokens=max_batch_tokens)
    fields["manifest"] = msgspec.structs.replace(real.manifest, batching=batching)
    fields["budget"] = TokenBudget(max_batch_tokens, pads)
    return LoadedModel(**fields | {"predictor": Watched(real.predictor, pads, **faults)})


def result_of(model, texts, deadlines=(), now=lambda: 0.0):
    chunk = Chunk(
        ref=model.ref, texts=texts, deadline=10.0, request_ids=["r"], deadlines=list(deadlines)
    )
    return predict(model, chunk, max_batch_size=128, now=now)


def run(model, texts, **options):
    return result_of(model, texts, **options).outcomes


def words(count):
    return " ".join(["good"] * count)


@given(texts=TEXTS, max_batch_tokens=st.integers(1, 200), pads=st.booleans())
@settings(max_examples=30, deadline=None)
def test_answers_keep_their_order_and_their_values_whatever_the_budget(
    real, texts, max_batch_tokens, pads
):
    model = watched(real, max_batch_tokens, pads)

    outcomes = run(model, texts)

    assert [outcome.probabilities for outcome in outcomes] == [
        pytest.approx(run(model, [text])[0].probabilities, abs=1e-5) for text in texts
    ]


@given(texts=TEXTS, max_batch_tokens=st.integers(1, 200))
@settings(max_examples=30, deadline=None)
def test_batch_holds_no_more_tokens_than_the_budget_with_its_padding(real, texts, max_batch_tokens):
    model = watched(real, max_batch_tokens)

    run(model, texts)

    batches = model.predictor.batches
    assert sum(map(len, batches)) == len(texts)
    for lengths in batches:
        assert len(lengths) == 1 or len(lengths) * max(lengths) <= max_batch_tokens


@given(texts=TEXTS, max_batch_tokens=st.integers(1, 200))
@settings(max_examples=30, deadline=None)
def test_batch_of_a_model_that_needs_no_padding_holds_as_many_tokens_as_the_budget(
    real, texts, max_batch_tokens
):
    model = watched(real, max_batch_tokens, pads=False)

    result = result_of(model, texts)

    batches = model.predictor.batches
    assert sum(map(len, batches)) == len(texts)
    for lengths in batches:
        assert len(lengths) == 1 or sum(lengths) <= max_batch_tokens
    assert result.padded_tokens == result.tokens


def test_batch_whose_time_runs_out_first_is_computed_first(real):
    model = watched(real, max_batch_tokens=20)

    run(model, [words(2), words(14)], deadlines=[9.0, 8.0])

    assert model.predictor.batches == [[16], [4]]


def test_text_whose_own_time_has_run_out_is_not_computed(real):
    model = watched(real)

    outcomes = run(model, [words(2), words(2)], deadlines=[5.0, 8.0], now=lambda: 5.0)

    assert outcomes[0] == EXPIRED
    assert outcomes[1].probabilities
    assert model.predictor.batches == [[4]]


def test_batch_that_finds_no_memory_is_halved_and_smaller_ones_follow(real):
    model = watched(real, max_batch_tokens=64, max_tokens=20)

    first = run(model, [words(2)] * 8)
    tried = len(model.predictor.batches)
    second = run(model, [words(2)] * 8)

    assert all(outcome.probabilities for outcome in first + second)
    assert model.budget.max_tokens == 16
    assert [len(lengths) * max(lengths) for lengths in model.predictor.batches[tried:]] == [16, 16]


def test_budget_of_a_model_that_needs_no_padding_is_halved_too(real):
    model = watched(real, max_batch_tokens=64, pads=False, max_tokens=20)

    outcomes = run(model, [words(2), words(4), words(12)])

    assert all(outcome.probabilities for outcome in outcomes)
    assert model.budget.max_tokens == (4 + 6 + 14) // 2


def test_text_that_alone_finds_no_memory_fails_alone(real):
    model = watched(real, max_batch_tokens=64, max_tokens=10)

    outcomes = run(model, [words(2), words(12), words(2)])

    assert outcomes[1] == OUT_OF_MEMORY
    assert [bool(outcome.probabilities) for outcome in outcomes] == [True, False, True]


def test_text_that_fails_fails_alone_and_teaches_no_budget(real):
    model = watched(real, max_batch_tokens=64, poison_tokens=5)

    outcomes = run(model, [words(2), words(3), words(2), words(4)])

    assert outcomes[1] == TEXT_FAILED
    assert [bool(outcome.probabilities) for outcome in outcomes] == [True, False, True, True]
    assert model.budget.max_tokens == 64


def test_result_tells_the_tokens_of_its_texts_and_those_that_were_computed(real):
    result = result_of(watched(real, max_batch_tokens=60), [words(2), words(4), words(14)])

    # With [CLS] and [SEP]: one batch of 4 and 6, one of 16.
    assert result.tokens == 4 + 6 + 16
    assert result.padded_tokens == 2 * 6 + 16


def test_result_counts_tokens_of_no_text_that_was_not_computed(real):
    model = watched(real, max_batch_tokens=64, poison_tokens=5)

    result = result_of(model, [words(2), words(3)])

    assert (result.tokens, result.padded_tokens) == (4, 4)
