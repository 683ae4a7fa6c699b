"""Shared. How often a version was right, and how sure it was: counts that all figures come from.

Training writes those of the held-out texts into reference.json, feedback makes those of live texts
(`app.monitoring.feedback.counts`), and `app.monitoring.feedback.quality` compares the two.
"""

from collections.abc import Iterable, Sequence

import msgspec

from app.models.base import Document

# Of equal width, over the confidence. More bins than 10 hold too few texts in a live window.
BINS = 10
DIGITS = 9


class Bin(Document, frozen=True, kw_only=True):
    """Texts of one range of confidence: how many, how many of them right, their confidences added.

    The part of a reliability diagram that lies over one interval.
    """

    texts: int = 0
    hits: int = 0
    confidence: float = 0.0


class Tally(Document, frozen=True, kw_only=True):
    """Counts of texts whose true label is known.

    `confusion` is texts by true label and by the label that was given; what is missing is 0. `bins`
    are `BINS` ranges of confidence. `brier` is the sum of the Brier scores of `scored` texts, and
    `brier_squares` that of their squares: texts whose probabilities were not kept have none.
    """

    labels: list[str]
    confusion: dict[str, dict[str, int]]
    bins: list[Bin]
    scored: int
    brier: float
    brier_squares: float

    @classmethod
    def of(cls, labels: Sequence[str], rows: Iterable[tuple[int, Sequence[float]]]) -> "Tally":
        """Count (number of the true label, probability by label) pairs."""
        confusion: dict[str, dict[str, int]] = {}
        bins = [Bin()] * BINS
        scores: list[float] = []
        for true, shares in rows:
            confidence = max(shares)
            given = list(shares).index(confidence)
            row = confusion.setdefault(labels[true], {})
            row[labels[given]] = row.get(labels[given], 0) + 1
            at = bin_of(confidence)
            bins[at] = _counted(bins[at], confidence, given == true)
            scores.append(brier_score(shares, true))
        return cls(
            labels=list(labels),
            confusion=confusion,
            bins=[msgspec.structs.replace(b, confidence=round(b.confidence, DIGITS)) for b in bins],
            scored=len(scores),
            brier=round(sum(scores), DIGITS),
            brier_squares=round(sum(score * score for score in scores), DIGITS),
        )

    @property
    def texts(self) -> int:
        """All of them."""
        return sum(sum(row.values()) for row in self.confusion.values())

    @property
    def hits(self) -> int:
        """Those that got their true label."""
        return sum(row.get(label, 0) for label, row in self.confusion.items())


def bin_of(confidence: float) -> int:
    """The number of the bin that holds a confidence; 1 is in the last one."""
    return min(int(confidence * BINS), BINS - 1)


def brier_score(shares: Sequence[float], true: int) -> float:
    """The squared distance of the probabilities from the truth: 0 to 2.

    Source: G. W. Brier, Verification of forecasts expressed in terms of probability, Monthly
    Weather Review 78 (1950), 1-3; over all labels, as there.
    """
    return sum((share - (at == true)) ** 2 for at, share in enumerate(shares))


def _counted(before: Bin, confidence: float, is_hit: bool) -> Bin:
    return Bin(
        texts=before.texts + 1,
        hits=before.hits + is_hit,
        confidence=before.confidence + confidence,
    )
