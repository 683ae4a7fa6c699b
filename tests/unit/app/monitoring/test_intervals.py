"""Intervals are those of the literature, and of scipy."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from sklearn.metrics import f1_score

from app.monitoring.intervals import binomial, f1_by_label, f1_variance, newcombe, wilson

Z95 = 1.959963984540054
LABELS = ["a", "b", "c"]


@given(st.integers(1, 10_000), st.data())
def test_wilson_is_scipys(texts, data):
    hits = data.draw(st.integers(0, texts))

    low, high = wilson(hits, texts, Z95)

    known = binomtest(hits, texts).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((known.low, known.high), abs=1e-9)
    assert low <= hits / texts <= high


@pytest.mark.parametrize(
    ("hits", "texts", "known"),
    [
        # Newcombe (1998), table II, method 10.
        ((56, 48), (70, 80), (0.0524, 0.3339)),
        ((9, 3), (10, 10), (0.1705, 0.8090)),
        ((10, 0), (10, 20), (0.6791, 1.0000)),
        ((5, 0), (56, 29), (-0.0381, 0.1926)),
    ],
)
def test_newcombe_is_that_of_his_paper(hits, texts, known):
    assert newcombe(hits, texts, 1.96) == pytest.approx(known, abs=1e-4)


def confused(pairs):
    found = {}
    for true, given_ in pairs:
        row = found.setdefault(true, {})
        row[given_] = row.get(given_, 0) + 1
    return found


pairs = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1)


@given(pairs)
def test_f1_is_scikit_learns(rows):
    true, predicted = map(list, zip(*rows, strict=True))

    found = f1_by_label(confused(rows), LABELS)

    known = f1_score(true, predicted, labels=LABELS, average=None, zero_division=0.0)
    assert list(found.values()) == pytest.approx(known.tolist())


def test_variance_of_f1_is_how_far_samples_of_it_spread():
    random = Random(1)
    shares = {
        ("a", "a"): 0.4,
        ("a", "b"): 0.1,
        ("b", "b"): 0.2,
        ("b", "c"): 0.05,
        ("c", "c"): 0.15,
        ("c", "a"): 0.1,
    }
    drawn = []
    for _ in range(1500):
        rows = random.choices(list(shares), list(shares.values()), k=400)
        drawn.append(sum(f1_by_label(confused(rows), LABELS).values()) / 3)
    mean = sum(drawn) / len(drawn)
    spread = math.sqrt(sum((value - mean) ** 2 for value in drawn) / (len(drawn) - 1))

    exact = confused([cell for cell, share in shares.items() for _ in range(round(400 * share))])

    assert math.sqrt(f1_variance(exact, LABELS)) == pytest.approx(spread, rel=0.1)


@given(pairs)
def test_variance_of_f1_is_never_nothing(rows):
    assert f1_variance(confused(rows), LABELS) > 0


def test_variance_of_f1_falls_with_the_number_of_texts():
    few, many = confused([("a", "a"), ("b", "b")] * 25), confused([("a", "a"), ("b", "b")] * 2500)

    assert f1_variance(few, ["a", "b"]) > 50 * f1_variance(many, ["a", "b"])


@pytest.mark.parametrize(("texts", "share"), [(20, 0.3), (2000, 0.004), (5000, 0.8), (10, 0.97)])
def test_binomial_has_the_mean_and_spread_that_it_should(texts, share):
    random = Random(2)

    drawn = [binomial(random, texts, share) for _ in range(4000)]

    mean = sum(drawn) / len(drawn)
    variance = sum((value - mean) ** 2 for value in drawn) / len(drawn)
    known = binom(texts, share)
    assert mean == pytest.approx(known.mean(), abs=4 * known.std() / math.sqrt(len(drawn)))
    assert variance == pytest.approx(known.var(), rel=0.12)


@given(st.integers(0, 500), st.floats(0, 1), st.integers())
def test_binomial_counts_texts(texts, share, seed):
    assert 0 <= binomial(Random(seed), texts, share) <= texts
