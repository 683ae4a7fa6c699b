"""Shared. How far two sets of counts lie apart, and whether chance alone can explain it.

Counts are given by bin: the reference's first, then those of live traffic, equally many and in the
same order. Pure Python, because the API process loads no numpy; nothing here knows of models.
"""

import math
from collections.abc import Sequence
from itertools import accumulate

# The share that an empty bin is taken to have: a logarithm of zero would make one text decide.
FLOOR = 1e-4

Counts = Sequence[int]


def psi(reference: Counts, live: Counts) -> float:
    """Population stability index: the sum of (q - p) ln(q / p) over the shares p and q of each bin.

    The symmetric Kullback-Leibler divergence (Jeffreys 1946), in nats; 0 for equal shares, without
    an upper bound. Rule of thumb: below 0.1 stable, above 0.25 changed. Source: B. Yurdakul,
    "Statistical Properties of Population Stability Index", Western Michigan University 2018.
    """
    pairs = zip(_shares(reference), _shares(live), strict=True)
    floored = ((max(p, FLOOR), max(q, FLOOR)) for p, q in pairs)
    return sum((q - p) * math.log(q / p) for p, q in floored)


def jensen_shannon(reference: Counts, live: Counts) -> float:
    """Jensen-Shannon divergence in bits: 0 for equal shares, 1 where no bin is used by both.

    Symmetric, and finite for empty bins. Source: J. Lin, "Divergence measures based on the Shannon
    entropy", IEEE Transactions on Information Theory 37(1), 1991. Its square root is the distance
    that scipy.spatial.distance.jensenshannon(..., base=2) gives.
    """
    total = 0.0
    for p, q in zip(_shares(reference), _shares(live), strict=True):
        middle = (p + q) / 2
        total += sum(share * math.log2(share / middle) for share in (p, q) if share > 0) / 2
    return min(1.0, max(0.0, total))


def ks(reference: Counts, live: Counts) -> float:
    """Two-sample Kolmogorov-Smirnov distance: the greatest gap between the cumulative shares, 0-1.

    On counts the gap is seen at the edges of bins alone, so this is a lower bound of the distance
    between the values themselves. Source: N. Smirnov, "Table for estimating the goodness of fit of
    empirical distributions", Annals of Mathematical Statistics 19(2), 1948.
    """
    pairs = zip(accumulate(_shares(reference)), accumulate(_shares(live)), strict=True)
    return min(1.0, max((abs(q - p) for p, q in pairs), default=0.0))


def ks_p_value(distance: float, reference_texts: int, live_texts: int) -> float:
    """How often chance makes samples of one distribution lie at least `distance` apart.

    Kolmogorov's limit with Stephens' correction for small samples. For binned values it is an upper
    bound: there are at most as many false alarms as it says. Source: M. A. Stephens, "Use of the
    Kolmogorov-Smirnov, Cramer-von Mises and related statistics without extensive tables", JRSS B
    32(1), 1970.
    """
    scaled = distance * _stephens(reference_texts, live_texts)
    if scaled < 0.2:  # the series converges slowly there, and its sum is 1 to ten digits
        return 1.0
    terms = [math.exp(-2 * (j * scaled) ** 2) for j in range(1, 101)]
    return min(1.0, max(0.0, 2 * (sum(terms[::2]) - sum(terms[1::2]))))


def ks_critical(significance: float, reference_texts: int, live_texts: int) -> float:
    """The distance that chance reaches with probability `significance` (at most 0.1).

    The first term of the series in `ks_p_value`, turned round; the others are below 1e-5 there.
    """
    return math.sqrt(math.log(2 / significance) / 2) / _stephens(reference_texts, live_texts)


def chi_square_p_value(reference: Counts, live: Counts) -> float:
    """Pearson's test that both counts are samples of the same distribution: its p-value.

    Approximate; good where each bin would have five texts or more in either sample. Bins that both
    leave empty do not count. Source: K. Pearson, Biometrika 8(1/2), 1911.
    """
    m, n = sum(reference), sum(live)
    if not m or not n:
        return 1.0
    used = [(p, q) for p, q in zip(reference, live, strict=True) if p + q]
    spread = sum((math.sqrt(n / m) * p - math.sqrt(m / n) * q) ** 2 / (p + q) for p, q in used)
    return chi_square_tail(spread, len(used) - 1)


def chi_square_tail(value: float, degrees: int) -> float:
    """The probability that a chi-square variable exceeds `value`; exact for whole `degrees`.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.4.4 and 26.4.5.
    """
    if degrees < 1 or value <= 0:
        return 1.0
    half, odd = value / 2, degrees % 2
    tail = math.erfc(math.sqrt(half)) if odd else 0.0
    powers = (at + odd / 2 for at in range(degrees // 2))
    tail += sum(
        math.exp(power * math.log(half) - half - math.lgamma(power + 1)) for power in powers
    )
    return min(1.0, tail)


def psi_by_chance(bins: int, reference_texts: int, live_texts: int) -> float:
    """What `psi` is on average where nothing changed: (bins - 1) (1/m + 1/n).

    Source: Yurdakul 2018 (see `psi`), from the chi-square limit of the index.
    """
    return (bins - 1) * (1 / reference_texts + 1 / live_texts)


def jensen_shannon_by_chance(bins: int, reference_texts: int, live_texts: int) -> float:
    """What `jensen_shannon` is on average where nothing changed.

    Near equality it is psi / (8 ln 2): both have the same second-order term.
    """
    return psi_by_chance(bins, reference_texts, live_texts) / (8 * math.log(2))


def groups(reference: Counts, least: float) -> list[range]:
    """Neighbouring bins put together until each group has the share `least` of the reference.

    A bin that has it alone is a group of its own, so that rare values beside it stay in sight;
    such a group of rare ones, and the last group, may have less. The live counts have no say: bins
    that followed them would find differences in noise.
    """
    needed = least * sum(reference)
    found: list[range] = []
    start, held = 0, 0
    for at, count in enumerate(reference):
        if count >= needed and at > start:
            found.append(range(start, at))
            start, held = at, 0
        held += count
        if held >= needed:
            found.append(range(start, at + 1))
            start, held = at + 1, 0
    if start < len(reference):
        found.append(range(start, len(reference)))
    return found


def grouped(counts: Counts, into: Sequence[range]) -> list[int]:
    """The counts of groups of bins."""
    return [sum(counts[at] for at in group) for group in into]


def _shares(counts: Counts) -> list[float]:
    total = sum(counts)
    return [count / total if total else 0.0 for count in counts]


def _stephens(m: int, n: int) -> float:
    root = math.sqrt(m * n / (m + n))
    return root + 0.12 + 0.11 / root
