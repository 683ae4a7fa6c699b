"""Figures are scikit-learn's, and a verdict is more than chance."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score

from app.models.reference import Reference
from app.models.tally import BINS, Tally, bin_of
from app.monitoring.feedback.quality import accuracy, brier, ece, macro_f1, performance

LABELS = ["no", "so", "yes"]
SAMPLE = Path(__file__).parents[5] / "models/sentiment/v2/reference.json"
MIN_TEXTS = 100


def answers(random, texts, wrong=0.0, sharper=1.0):
    """(true label, probabilities) of a model that is calibrated where nothing is asked for.

    `wrong` is the share of true labels that have nothing to do with it.
    """
    logits = random.normal(size=(texts, 3)) * 1.5
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    true = (shares.cumsum(axis=1) > random.random((texts, 1))).argmax(axis=1)
    replaced = random.random(texts) < wrong
    true[replaced] = random.integers(0, 3, replaced.sum())
    told = shares**sharper
    told /= told.sum(axis=1, keepdims=True)
    return [(int(label), list(map(float, row))) for label, row in zip(true, told, strict=True)]


def verdict_of(live, reference, min_texts=MIN_TEXTS):
    return performance("m-v1", [(None, live)], reference, min_texts)


def figures_of(found):
    return {figure.name: figure for figure in found.windows[0].figures}


@settings(max_examples=20)
@given(st.integers(0, 1 << 30), st.integers(2, 300))
def test_figures_are_scikit_learns(seed, texts):
    rows = answers(np.random.default_rng(seed), texts)
    true, shares = [label for label, _ in rows], np.array([row for _, row in rows])

    tally = Tally.of(LABELS, rows)

    given_ = shares.argmax(axis=1)
    f1 = f1_score(true, given_, labels=[0, 1, 2], average="macro", zero_division=0.0)
    known = brier_score_loss(true, shares, labels=[0, 1, 2], scale_by_half=False)
    assert accuracy(tally) == pytest.approx(accuracy_score(true, given_))
    assert macro_f1(tally, LABELS) == pytest.approx(f1)
    assert brier(tally) == pytest.approx(known)


def test_calibration_error_is_that_of_the_reliability_diagram():
    rows = answers(np.random.default_rng(3), 2000, sharper=2.0)
    confidence = np.array([max(shares) for _, shares in rows])
    hits = np.array([shares.index(max(shares)) == label for label, shares in rows])

    right, sure = calibration_curve(hits, confidence, n_bins=BINS)

    counts = np.bincount([bin_of(value) for value in confidence], minlength=BINS)
    expected = np.sum(counts[counts > 0] / 2000 * np.abs(right - sure))
    assert ece(Tally.of(LABELS, rows)) == pytest.approx(expected)


@given(st.floats(0, 1))
def test_every_confidence_has_a_bin(confidence):
    assert 0 <= bin_of(confidence) < BINS


def test_nothing_is_said_of_few_texts():
    random = np.random.default_rng(0)
    reference = Tally.of(LABELS, answers(random, 1000))
    few = Tally.of(LABELS, answers(random, MIN_TEXTS - 1, wrong=1.0))

    found = verdict_of(few, reference)

    assert (found.verdict, found.windows[0].texts) == ("insufficient_data", MIN_TEXTS - 1)
    assert {figure.low for figure in found.windows[0].figures} == {None}


def test_nothing_is_said_of_no_text():
    found = verdict_of(Tally.of(LABELS, []), Tally.of(LABELS, [(0, [1.0, 0.0, 0.0])]))

    assert found.verdict == "insufficient_data"
    assert {figure.live for figure in found.windows[0].figures} == {None}


def test_figures_without_training_have_no_reference():
    found = verdict_of(Tally.of(LABELS, answers(np.random.default_rng(0), 500)), None)

    assert (found.verdict, found.reference_texts) == ("no_reference", None)
    assert all(figure.live is not None for figure in found.windows[0].figures)


def test_any_window_degrades_the_version():
    random = np.random.default_rng(5)
    reference = Tally.of(LABELS, answers(random, 5000))
    good = Tally.of(LABELS, answers(random, 3000))
    bad = Tally.of(LABELS, answers(random, 500, wrong=0.5))

    found = performance("m-v1", [(60, bad), (None, good)], reference, MIN_TEXTS)

    assert [window.verdict for window in found.windows] == ["degraded", "ok"]
    assert found.verdict == "degraded"


def test_wrong_answers_lower_accuracy_and_f1():
    random = np.random.default_rng(6)
    reference = Tally.of(LABELS, answers(random, 5000))

    found = figures_of(verdict_of(Tally.of(LABELS, answers(random, 1000, wrong=0.4)), reference))

    assert found["accuracy"].live < found["accuracy"].reference
    assert found["accuracy"].high < 0
    assert {found[name].verdict for name in ("accuracy", "macro_f1", "brier")} == {"degraded"}


def test_answers_that_are_too_sure_are_no_less_accurate():
    random = np.random.default_rng(7)
    reference = Tally.of(LABELS, answers(random, 5000))

    found = figures_of(verdict_of(Tally.of(LABELS, answers(random, 1000, sharper=2.0)), reference))

    assert found["ece"].verdict == "degraded"
    assert found["accuracy"].verdict == found["macro_f1"].verdict == "ok"


def test_better_answers_are_no_trouble():
    random = np.random.default_rng(8)
    reference = Tally.of(LABELS, answers(random, 5000, wrong=0.4))

    assert verdict_of(Tally.of(LABELS, answers(random, 1000)), reference).verdict == "ok"


@pytest.mark.parametrize(("held_out", "live"), [(150, 1000), (2000, 150)])
def test_few_windows_of_the_same_texts_are_degraded(held_out, live):
    """Each of four figures may err in one of 200 windows, and few held-out texts say little."""
    random = np.random.default_rng(9)

    alarms = sum(
        verdict_of(
            Tally.of(LABELS, answers(random, live)), Tally.of(LABELS, answers(random, held_out))
        ).verdict
        == "degraded"
        for _ in range(20)
    )

    assert alarms <= 1


def test_perfect_training_is_no_promise_for_ever():
    """Of 50 texts all right: one in a hundred may be wrong all the same."""
    sure = [1.0, 0.0, 0.0]
    reference = Tally.of(LABELS, [(0, sure)] * 50)
    live = Tally.of(LABELS, [(0, sure)] * 9900 + [(1, sure)] * 100)

    assert figures_of(verdict_of(live, reference))["accuracy"].verdict == "ok"


def test_sample_has_the_counts_of_its_training():
    reference = msgspec.json.decode(SAMPLE.read_bytes(), type=Reference)

    assert reference.quality.texts == reference.held_out_texts
    assert round(accuracy(reference.quality), 4) == 0.7059
    assert round(macro_f1(reference.quality, reference.quality.labels), 4) == 0.6594
