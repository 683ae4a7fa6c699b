"""Worker process. What a model is worth on texts that it never saw."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from app.models.base import ClassFigures

DIGITS = 4


class Figures(NamedTuple):
    """Held-out figures, rounded to four digits; `per_class` by label."""

    accuracy: float
    macro_f1: float
    per_class: dict[str, ClassFigures]


def evaluate(probabilities: Any, labels: Sequence[str], names: Sequence[str]) -> Figures:
    """Figures of an array (n, labels) against the n true labels; the greatest probability counts.

    A label that was never predicted has precision and F1 0.
    """
    predicted = [names[at] for at in np.argmax(probabilities, axis=1)]
    rows = precision_recall_fscore_support(labels, predicted, labels=names, zero_division=0.0)
    per_class = {
        name: ClassFigures(
            precision=round(float(precision), DIGITS),
            recall=round(float(recall), DIGITS),
            f1=round(float(f1), DIGITS),
            support=int(support),
        )
        for name, precision, recall, f1, support in zip(names, *rows, strict=True)
    }
    hits = np.mean([said == true for said, true in zip(predicted, labels, strict=True)])
    return Figures(round(float(hits), DIGITS), round(float(np.mean(rows[2])), DIGITS), per_class)
