"""Which size of batches is found to be the best, and by what."""

import dataclasses

import pytest

from app.errors import ArtifactInvalid
from app.models.budget import TokenBudget
from app.models.loader import load
from app.models.tuning import Point, best, mixture, tune
from tests.hugging_face_models import MAX_TOKENS, build_transformer
from tests.models import LIMITS, WORDS, build_model, entry

TEXTS = mixture(" ".join(WORDS.values()).split(), 100)
WINDOW = 64


class Clock:
    """Seconds that pass only when something is computed."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


class Costly:
    """Takes time for each batch, and for each token of it that is too much."""

    def __init__(self, clock, batch_s=0.01, token_s=0.0001, max_tokens=10**9, pads=True):
        self.clock, self.batch_s, self.token_s = clock, batch_s, token_s
        self.max_tokens, self.pads = max_tokens, pads

    def predict_proba(self, texts):
        tokens = texts.cost(self.pads)
        if tokens > self.max_tokens:
            raise MemoryError
        # Beyond 256 tokens, those that overflow the cache cost ten times as much.
        slow = max(0, tokens - 256)
        self.clock.now += self.batch_s + self.token_s * (tokens + 9 * slow)


class Timed:
    """Computes, and has a thousandth of a second pass for each batch."""

    def __init__(self, clock, predictor):
        self.clock, self.predictor = clock, predictor

    def predict_proba(self, texts):
        self.clock.now += 0.001
        return self.predictor.predict_proba(texts)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("app.models.tuning.time", clock)
    return clock


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    path = build_transformer(tmp_path_factory.mktemp("models"))
    model = load(entry(path), LIMITS)
    return dataclasses.replace(model, budget=TokenBudget(512, model.pads))


def costly(real, clock, **options):
    return dataclasses.replace(real, predictor=Costly(clock, **options))


@pytest.fixture(scope="module")
def curve(real):
    """Of a model whose best budget is 256 tokens, with time for every size."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("app.models.tuning.time", clock)
        return tune(costly(real, clock), TEXTS, 8.0, WINDOW)


def test_budget_is_the_one_that_computes_the_most_texts_a_second(curve):
    assert curve.counts_tokens
    assert [point.size for point in curve.points] == [64, 128, 256, 512, 1024, 2048]
    assert curve.best == 256
    rates = {point.size: point.texts_per_s for point in curve.points}
    assert max(rates, key=rates.get) == 256


def test_larger_batches_pad_more_and_take_longer(curve):
    smallest, largest = curve.points[0], curve.points[-1]
    assert 0 <= smallest.padding_share < largest.padding_share < 1
    assert smallest.batch_ms < largest.batch_ms


def test_model_that_needs_no_padding_has_sizes_without_it(real, clock):
    curve = tune(costly(real, clock, pads=False), TEXTS, 8.0, WINDOW)

    # Half of the tokens that the same texts have with their padding, as one batch.
    assert [point.size for point in curve.points] == [64, 128, 256, 512, 1024]
    assert {point.padding_share for point in curve.points} == {0.0}


def test_point_tells_what_was_measured(real, clock):
    curve = tune(costly(real, clock), [max(TEXTS, key=len)], 8.0, WINDOW)

    # All texts have as many tokens as a text may, and are one batch.
    tokens = curve.window_texts * MAX_TOKENS
    seconds = 0.01 + 0.0001 * (tokens + 9 * (tokens - 256))
    largest = curve.points[-1]
    assert largest.padding_share == 0
    assert largest.batch_ms == pytest.approx(seconds * 1000)
    assert largest.texts_per_s == pytest.approx(curve.window_texts / seconds)


def test_measuring_ends_soon_after_its_time(real, clock):
    tune(costly(real, clock), TEXTS, 2.0, WINDOW)

    assert 2.0 <= clock.now < 3.0


def test_sizes_that_no_time_was_left_for_are_told(real, clock):
    curve = tune(costly(real, clock), TEXTS, 0.1, WINDOW)

    assert [point.size for point in curve.points] == [64]
    assert curve.unmeasured[0] == 128
    assert curve.best == 64


def test_budget_that_finds_no_memory_is_left_out(real, clock):
    curve = tune(costly(real, clock, max_tokens=520), TEXTS, 8.0, WINDOW)

    assert [point.size for point in curve.points] == [64, 128, 256, 512]
    assert curve.unmeasured == [1024, 2048]


def test_model_that_cannot_compute_a_text_is_an_error_of_the_model(real, clock):
    with pytest.raises(ArtifactInvalid):
        tune(costly(real, clock, max_tokens=1), TEXTS, 30.0, WINDOW)


def test_smallest_size_within_two_percent_of_the_fastest_is_the_best():
    rates = {64: 90.0, 128: 98.1, 256: 99.0, 512: 100.0}

    assert best([Point(size, rate, 0.0, 1.0) for size, rate in rates.items()]) == 128


def test_transformer_is_really_computed(real):
    curve = tune(real, TEXTS, 0.05, 8)

    assert curve.best in [point.size for point in curve.points]
    assert all(point.texts_per_s > 0 for point in curve.points)


def test_model_that_counts_texts_gets_a_curve_over_texts(tmp_path, clock):
    model = load(entry(build_model(tmp_path)), LIMITS)
    timed = dataclasses.replace(model, predictor=Timed(clock, model.predictor))

    curve = tune(timed, ["good day", "bad night"], 0.2, 32)

    assert not curve.counts_tokens
    assert [point.size for point in curve.points] == [1, 2, 4, 8, 16, 32]
    assert curve.best == curve.window_texts == 32
    assert {point.padding_share for point in curve.points} == {0.0}


def test_mixture_has_one_long_text_of_five_and_no_text_twice():
    texts = mixture(["a", "b", "c"], 500)

    words = [len(text.split()) for text in texts]
    for at in range(0, 500, 5):
        assert sum(count > 100 for count in words[at : at + 5]) == 1
    assert len(set(texts)) == 500
    assert mixture(["a", "b", "c"], 500) == texts
