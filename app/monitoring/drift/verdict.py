"""Shared. Has the traffic of a version drifted from its reference, and in what?

A feature has drifted where its scores say that the change is large *and* a test says that chance
does not explain it: large windows find differences that do not matter, small ones such as are not
there. `significance` is shared out among the features (Bonferroni), so it holds for all together.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from app.models.reference import Reference
from app.monitoring.drift import methods
from app.monitoring.drift.windows import Window
from app.settings import Drift, Thresholds

Verdict = Literal["no_reference", "insufficient_data", "ok", "warn", "alarm"]
LEVELS: tuple[Verdict, ...] = ("ok", "warn", "alarm")

LABELS = "labels"
# A group of bins of a histogram has a tenth of the reference or more: deciles, as PSI is used.
LEAST_SHARE = 0.1
# Of rare labels so many are put together that a window would have five texts of them.
LEAST_TEXTS = 5
DIGITS = 6


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How large a change is; it counts from `warn` and `alarm` on.

    psi and jensen_shannon are less what chance makes of them on average. For ks `warn` is the
    distance that chance reaches with the feature's part of `significance`.
    """

    method: Literal["psi", "jensen_shannon", "ks"]
    value: float
    warn: float
    alarm: float | None = None


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """One bar of both histograms: a label, or the lower edge of a bin; shares of the texts."""

    name: str
    reference: float
    live: float


class FeatureDrift(msgspec.Struct, frozen=True, kw_only=True):
    """One feature; `p_value` is that of `test`. No scores where there are too few texts."""

    feature: str
    verdict: Verdict
    reference_texts: int
    live_texts: int
    test: Literal["ks", "chi_square"]
    p_value: float | None
    scores: list[Score]
    bins: list[Bin]


class Feature(NamedTuple):
    """What is compared: the counts of both sides, bin by bin. `ordered` bins are a histogram's."""

    name: str
    bins: Sequence[str]
    reference: Sequence[int]
    live: Sequence[int]
    ordered: bool


def judge(
    reference: Reference, labels: Sequence[str], window: Window, settings: Drift
) -> tuple[Verdict, list[FeatureDrift]]:
    """The verdict on one window, and that on each feature that was measured.

    `labels` are those of the model in its own order. `insufficient_data` where the window has fewer
    than `min_samples` texts.
    """
    found = [feature for feature in _features(reference, labels, window) if sum(feature.live)]
    texts = max((sum(feature.live) for feature in found), default=0)
    if texts < settings.min_samples:
        return "insufficient_data", [_described(feature) for feature in found]
    significance = settings.significance / len(found)
    judged = [_judged(feature, getattr(settings, feature.name), significance) for feature in found]
    return max((row.verdict for row in judged), key=LEVELS.index), judged


def _features(reference: Reference, labels: Sequence[str], window: Window) -> list[Feature]:
    counts = window.counts(LABELS, len(labels))
    found = [Feature(LABELS, labels, reference.predicted_counts(labels), counts, ordered=False)]
    for name, histogram in reference.histograms().items():
        edges = [f"{edge:g}" for edge in histogram.edges]
        live = window.counts(name, len(edges))
        found.append(Feature(name, edges, histogram.counts, live, ordered=True))
    return found


def _judged(feature: Feature, thresholds: Thresholds, significance: float) -> FeatureDrift:
    before, after = _put_together(feature)
    m, n = sum(before), sum(after)
    found = _effects(before, after, thresholds)
    level = LEVELS[max(map(_level, found))]
    if feature.ordered:
        distance = methods.ks(feature.reference, feature.live)
        critical = methods.ks_critical(significance, m, n)
        found.append(Score(method="ks", value=_rounded(distance), warn=_rounded(critical)))
        p_value = methods.ks_p_value(distance, m, n)
    else:
        p_value = methods.chi_square_p_value(before, after)
    return msgspec.structs.replace(
        _described(feature),
        verdict=level if p_value < significance else "ok",
        p_value=p_value,
        scores=found,
    )


def _effects(before: Sequence[int], after: Sequence[int], thresholds: Thresholds) -> list[Score]:
    """How large the change is, less what chance makes of it on average where there is none.

    So windows of all sizes can be held against the same thresholds.
    """
    size = (len(before), sum(before), sum(after))
    psi = methods.psi(before, after) - methods.psi_by_chance(*size)
    divergence = methods.jensen_shannon(before, after) - methods.jensen_shannon_by_chance(*size)
    return [
        Score(
            method="psi",
            value=_rounded(max(0.0, psi)),
            warn=thresholds.psi_warn,
            alarm=thresholds.psi_alarm,
        ),
        Score(
            method="jensen_shannon",
            value=_rounded(max(0.0, divergence)),
            warn=thresholds.jensen_shannon_warn,
            alarm=thresholds.jensen_shannon_alarm,
        ),
    ]


def _described(feature: Feature) -> FeatureDrift:
    m, n = sum(feature.reference), sum(feature.live)
    rows = zip(feature.bins, feature.reference, feature.live, strict=True)
    return FeatureDrift(
        feature=feature.name,
        verdict="insufficient_data",
        reference_texts=m,
        live_texts=n,
        test="ks" if feature.ordered else "chi_square",
        p_value=None,
        scores=[],
        bins=[
            Bin(name=name, reference=_rounded(p / m), live=_rounded(q / n)) for name, p, q in rows
        ],
    )


def _put_together(feature: Feature) -> tuple[list[int], list[int]]:
    """Both counts in bins that are large enough to be compared."""
    reference, live, least = feature.reference, feature.live, LEAST_SHARE
    if not feature.ordered:
        # Rare labels side by side.
        order = sorted(range(len(reference)), key=lambda at: -reference[at])
        reference, live = [reference[at] for at in order], [live[at] for at in order]
        least = min(LEAST_SHARE, LEAST_TEXTS / sum(live))
    into = methods.groups(reference, least)
    return methods.grouped(reference, into), methods.grouped(live, into)


def _level(score: Score) -> int:
    if score.alarm is not None and score.value >= score.alarm:
        return 2
    return int(score.value >= score.warn)


def _rounded(value: float) -> float:
    return round(value, DIGITS)
