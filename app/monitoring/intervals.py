"""Shared. Intervals for shares and their differences: how much of a figure may be chance."""

import math
from collections.abc import Mapping, Sequence
from random import Random

# Beyond, the normal distribution is as good as the binomial, and takes no longer for more texts.
MAX_EXACT_HITS = 30.0
# Half of them right and half of them wrong; see `f1_variance`.
PSEUDO_TEXTS = 4

Interval = tuple[float, float]
Confusion = Mapping[str, Mapping[str, int]]


def wilson(hits: int, texts: int, z: float) -> Interval:
    """The score interval of a share, where `z` is a quantile of the normal distribution.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    Journal of the American Statistical Association 22 (1927), 209-212.
    """
    share, square = hits / texts, z * z / texts
    middle = share + square / 2
    # What rounding leaves below 0 would have no root.
    spread = math.sqrt(max(0.0, square * (share * (1 - share) + square / 4)))
    low, high = (middle - spread) / (1 + square), (middle + spread) / (1 + square)
    return max(0.0, min(low, share)), min(1.0, max(high, share))


def newcombe(hits: tuple[int, int], texts: tuple[int, int], z: float) -> Interval:
    """The interval of the first share minus the second, of independent texts.

    Source: R. G. Newcombe, Interval estimation for the difference between independent proportions,
    Statistics in Medicine 17 (1998), 873-890, method 10: from the score intervals of both.
    """
    first, second = hits[0] / texts[0], hits[1] / texts[1]
    (low_1, high_1), (low_2, high_2) = (wilson(h, n, z) for h, n in zip(hits, texts, strict=True))
    difference = first - second
    return (
        difference - math.hypot(first - low_1, high_2 - second),
        difference + math.hypot(high_1 - first, second - low_2),
    )


def normal(difference: float, variance: float, z: float) -> Interval:
    """The interval of an estimate that is about normal with this variance."""
    spread = z * math.sqrt(max(0.0, variance))
    return difference - spread, difference + spread


def f1_by_label(confusion: Confusion, labels: Sequence[str]) -> dict[str, float]:
    """F1 of each label; 0 for one that is neither true nor given anywhere."""
    true, given = _margins(confusion)
    found: dict[str, float] = {}
    for label in labels:
        both = true.get(label, 0) + given.get(label, 0)
        found[label] = 2 * confusion.get(label, {}).get(label, 0) / both if both else 0.0
    return found


def f1_variance(confusion: Confusion, labels: Sequence[str]) -> float:
    """The variance of the mean F1 of `labels`, by the multivariate delta method.

    Source: K. Takahashi, K. Yamamoto, A. Kuchiba, T. Koyama, Confidence interval for micro-averaged
    F1 and macro-averaged F1 scores, Applied Intelligence 52 (2022), 4961-4972. Where all texts are
    right that variance is 0, which few texts do not prove: so `PSEUDO_TEXTS` are added, as
    A. Agresti and B. A. Coull do for a share (The American Statistician 52 (1998), 119-126).
    """
    cells = _smoothed(confusion, labels)
    texts = sum(cells.values())
    true: dict[str, float] = dict.fromkeys(labels, 0.0)
    given: dict[str, float] = dict.fromkeys(labels, 0.0)
    for (row, column), count in cells.items():
        true[row] = true.get(row, 0.0) + count / texts
        given[column] = given.get(column, 0.0) + count / texts
    wanted = set(labels)
    both = {label: true[label] + given[label] for label in labels}
    slope = {label: 2 * cells[label, label] / texts / both[label] ** 2 for label in labels}
    mean = mean_square = 0.0
    for (row, column), count in cells.items():
        gain = 2 / both[row] if row == column and row in wanted else 0.0
        loss = sum(slope[label] for label in (row, column) if label in wanted)
        gradient = (gain - loss) / len(labels)
        mean += count / texts * gradient
        mean_square += count / texts * gradient**2
    return (mean_square - mean**2) / texts


def binomial(random: Random, texts: int, share: float) -> int:
    """How many of `texts` are hits, where each is one with probability `share`.

    Few hits are counted by the gaps between them (L. Devroye, Non-Uniform Random Variate
    Generation (1986), X.4.3), many are drawn from the normal distribution.
    """
    if share > 0.5:
        return texts - binomial(random, texts, 1 - share)
    mean = texts * share
    if mean > MAX_EXACT_HITS:
        drawn = round(random.gauss(mean, math.sqrt(mean * (1 - share))))
        return max(0, min(texts, drawn))
    if share < 1e-12:
        return 0
    rate, hits, at = math.log1p(-share), 0, 0
    while (at := at + 1 + int(math.log(1.0 - random.random()) / rate)) <= texts:
        hits += 1
    return hits


def quantiles(values: Sequence[float], tail: float) -> Interval:
    """The values that this share of all lies below, and above."""
    ordered = sorted(values)
    place = int(tail * (len(ordered) - 1))
    return ordered[place], ordered[-1 - place]


def _margins(confusion: Confusion) -> tuple[dict[str, int], dict[str, int]]:
    given: dict[str, int] = {}
    for row in confusion.values():
        for label, count in row.items():
            given[label] = given.get(label, 0) + count
    return {label: sum(row.values()) for label, row in confusion.items()}, given


def _smoothed(confusion: Confusion, labels: Sequence[str]) -> dict[tuple[str, str], float]:
    cells = {
        (true, given): float(count)
        for true, row in confusion.items()
        for given, count in row.items()
    }
    part = PSEUDO_TEXTS / 2 / len(labels)
    for at, label in enumerate(labels):
        for other in (label, labels[at - 1]):
            cells[label, other] = cells.get((label, other), 0.0) + part
    return cells
