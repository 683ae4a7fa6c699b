"""Shared. Whether a version is still as good as when it was trained, by the feedback on it.

Each figure of a live window is compared with that of the held-out texts. `low` to `high` is the
interval of the difference, live minus reference, at `LEVEL`; the doubt about both sides is in it. A
figure is degraded where all of that lies on the worse side of 0.
"""

from collections.abc import Sequence
from random import Random
from statistics import NormalDist
from typing import Literal

import msgspec

from app.models.tally import Tally
from app.monitoring import intervals
from app.monitoring.intervals import Interval

Verdict = Literal["ok", "degraded", "insufficient_data", "no_reference"]

LEVEL = 0.99
TAIL = (1 - LEVEL) / 2
Z = NormalDist().inv_cdf(1 - TAIL)
# They take some 15 ms, for any number of texts.
DRAWS = 500
SEED = 0
DIGITS = 6
# What is lower when a version is better.
LOSSES = ("ece", "brier")


class Figure(msgspec.Struct, frozen=True):
    """accuracy, macro_f1, ece or brier; None where there is nothing to compute it from."""

    name: str
    live: float | None
    reference: float | None
    low: float | None
    high: float | None
    verdict: Verdict


class Window(msgspec.Struct, frozen=True):
    """Predictions of the last `seconds`, or all with feedback, of which `texts` have feedback."""

    seconds: int | None
    texts: int
    verdict: Verdict
    figures: list[Figure]


class Performance(msgspec.Struct, frozen=True):
    """What feedback says of a version; `reference_texts` is the number of held-out texts."""

    model_version: str
    verdict: Verdict
    reference_texts: int | None
    windows: list[Window]


def performance(
    ref: str,
    live: Sequence[tuple[int | None, Tally]],
    reference: Tally | None,
    min_texts: int,
) -> Performance:
    """Compare (length in seconds, counts) of each live window with the counts of training.

    A window is degraded where any of its figures is, and the version where any window is. Below
    `min_texts` nothing is said.
    """
    windows = [_window(seconds, tally, reference, min_texts) for seconds, tally in live]
    return Performance(
        model_version=ref,
        verdict=_worst([window.verdict for window in windows]),
        reference_texts=None if reference is None else reference.texts,
        windows=windows,
    )


def compared_accuracy(live: Tally, reference: Tally | None, min_texts: int) -> Figure:
    """That figure of one window alone: the others take milliseconds."""
    compared = _difference("accuracy", live, reference, live.texts >= min_texts)
    known = None if reference is None else accuracy(reference)
    return _figure("accuracy", accuracy(live), known, compared)


def accuracy(tally: Tally) -> float | None:
    """The share of texts that got their true label."""
    return tally.hits / tally.texts if tally.texts else None


def macro_f1(tally: Tally, labels: Sequence[str]) -> float | None:
    """The mean F1 of `labels`, where they occur."""
    found = intervals.f1_by_label(tally.confusion, labels)
    return sum(found.values()) / len(found) if found and tally.texts else None


def ece(tally: Tally) -> float | None:
    """The expected calibration error: how far confidence and accuracy are apart, bin by bin.

    Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, On calibration of modern neural networks,
    ICML 2017, equation 3; `BINS` bins of equal width.
    """
    gaps = sum(abs(b.hits - b.confidence) for b in tally.bins)
    return gaps / tally.texts if tally.texts else None


def brier(tally: Tally) -> float | None:
    """The mean Brier score: 0 where all is certain and right, 2 where it is certain and wrong."""
    return tally.brier / tally.scored if tally.scored else None


def _window(seconds: int | None, live: Tally, reference: Tally | None, min_texts: int) -> Window:
    labels = _seen(live)
    is_enough = {name: live.texts >= min_texts for name in _DIFFERENCES}
    is_enough["brier"] = live.scored >= min_texts
    known = {} if reference is None else _values(reference, labels)
    figures = [
        _figure(name, value, known.get(name), _difference(name, live, reference, is_enough[name]))
        for name, value in _values(live, labels).items()
    ]
    if live.texts < min_texts:
        verdict: Verdict = "insufficient_data"
    else:
        verdict = _worst([figure.verdict for figure in figures])
    return Window(seconds, live.texts, verdict, figures)


def _values(tally: Tally, labels: Sequence[str]) -> dict[str, float | None]:
    return {
        "accuracy": accuracy(tally),
        "macro_f1": macro_f1(tally, labels),
        "ece": ece(tally),
        "brier": brier(tally),
    }


def _figure(
    name: str, live: float | None, reference: float | None, compared: Interval | Verdict
) -> Figure:
    if isinstance(compared, str):
        return Figure(name, _rounded(live), _rounded(reference), None, None, compared)
    low, high = compared
    is_worse = low > 0 if name in LOSSES else high < 0
    verdict: Verdict = "degraded" if is_worse else "ok"
    return Figure(name, _rounded(live), _rounded(reference), _rounded(low), _rounded(high), verdict)


def _difference(
    name: str, live: Tally, reference: Tally | None, is_enough: bool
) -> Interval | Verdict:
    """The interval of live minus reference, or why there is none."""
    if not is_enough:
        return "insufficient_data"
    if reference is None or not (reference.scored if name == "brier" else reference.texts):
        return "no_reference"
    return _DIFFERENCES[name](live, reference)


def _accuracy_difference(live: Tally, reference: Tally) -> Interval:
    hits, texts = (live.hits, reference.hits), (live.texts, reference.texts)
    return intervals.newcombe(hits, texts, Z)


def _f1_difference(live: Tally, reference: Tally) -> Interval:
    labels = _seen(live)
    difference = (macro_f1(live, labels) or 0.0) - (macro_f1(reference, labels) or 0.0)
    variance = sum(intervals.f1_variance(side.confusion, labels) for side in (live, reference))
    return intervals.normal(difference, variance, Z)


def _brier_difference(live: Tally, reference: Tally) -> Interval:
    difference = live.brier / live.scored - reference.brier / reference.scored
    return intervals.normal(difference, _mean_variance(live) + _mean_variance(reference), Z)


def _ece_difference(live: Tally, reference: Tally) -> Interval:
    """How much further apart than in training, given how sure the live answers are.

    The error of few texts is always greater than that of many, so it cannot be compared as it is.
    The hits of each live bin are drawn anew, as often right as the reference says for that bin.
    Source: J. Broecker, L. A. Smith, Increasing the reliability of reliability diagrams, Weather
    and Forecasting 22 (2007), 651-661; what the reference says of a bin is itself drawn, from the
    beta distribution (Jeffreys' prior), for it may have few texts too.
    """
    random = Random(SEED)  # noqa: S311 - the same counts give the same verdict
    pairs = [(b, known) for b, known in zip(live.bins, reference.bins, strict=True) if b.texts]
    drawn: list[float] = []
    for _ in range(DRAWS):
        gaps = 0.0
        for b, known in pairs:
            share = random.betavariate(known.hits + 0.5, known.texts - known.hits + 0.5)
            gaps += abs(intervals.binomial(random, b.texts, share) - b.confidence)
        drawn.append(gaps / live.texts)
    found = ece(live) or 0.0
    low, high = intervals.quantiles(drawn, TAIL)
    return found - high, found - low


_DIFFERENCES = {
    "accuracy": _accuracy_difference,
    "macro_f1": _f1_difference,
    "ece": _ece_difference,
    "brier": _brier_difference,
}


def _mean_variance(tally: Tally) -> float:
    """The variance of the mean Brier score."""
    mean = tally.brier / tally.scored
    return (tally.brier_squares / tally.scored - mean**2) / tally.scored


def _seen(tally: Tally) -> list[str]:
    """Labels that are true or given somewhere: F1 of the others says nothing."""
    given = {label for row in tally.confusion.values() for label, count in row.items() if count}
    true = {label for label, row in tally.confusion.items() if any(row.values())}
    return [label for label in tally.labels if label in true | given]


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    order: tuple[Verdict, ...] = ("degraded", "ok", "no_reference")
    return next((verdict for verdict in order if verdict in verdicts), "insufficient_data")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
