"""Worker process. Chooses the golden texts of a freshly trained version, with its own answers.

A host that answers them otherwise later has another library, another processor or another file.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from app.models.golden import Golden

MAX_TEXTS = 20
MAX_CHARACTERS = 1000
# Where two labels are closer than this, rounding on another machine could turn them round.
MIN_MARGIN = 0.02
DIGITS = 6


def choose(texts: Sequence[str], probabilities: Any, labels: Sequence[str]) -> list[Golden]:
    """Up to `MAX_TEXTS` of the texts with what the model gave them, (n, labels) probabilities.

    Which ones depends on the texts alone and not on their order: the first by their digests.
    """
    margins = np.diff(np.sort(probabilities, axis=1)[:, -2:]).ravel()
    places = {text: at for at, text in enumerate(texts)}
    chosen = sorted(
        (text for text, at in places.items() if margins[at] >= MIN_MARGIN and _can_be_kept(text)),
        key=lambda text: hashlib.sha256(text.encode()).digest(),
    )
    return [_golden(text, probabilities[places[text]], labels) for text in chosen[:MAX_TEXTS]]


def _can_be_kept(text: str) -> bool:
    is_unicode = text.encode("utf-8", "ignore").decode() == text
    return is_unicode and len(text) <= MAX_CHARACTERS


def _golden(text: str, probabilities: Any, labels: Sequence[str]) -> Golden:
    rounded = (round(float(share), DIGITS) for share in probabilities)
    return Golden(
        text=text,
        label=labels[int(np.argmax(probabilities))],
        probabilities=dict(zip(labels, rounded, strict=True)),
    )
