"""Shared. reference.json: how the texts and answers of a version looked when it was trained.

Drift is measured against it: live traffic is counted into the same bins.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

from app.models.base import Document
from app.models.tally import Tally

REFERENCE_FILE = "reference.json"

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]

CHARACTER_EDGES = (0, 10, 20, 30, 40, 50, 60, 80, 100, 120, 150, 200, 300, 500, 1000, 10_000)
TOKEN_EDGES = (0, 1, 2, 4, 6, 8, 10, 12, 15, 20, 25, 30, 40, 60, 100, 1000)
SHARE_EDGES = tuple(step / 20 for step in range(20))


class Histogram(Document, frozen=True, kw_only=True):
    """Counts by bin: bin i holds `edges[i] <= value < edges[i + 1]`, the last has no upper end."""

    edges: list[float]
    counts: list[int]

    @classmethod
    def of(cls, values: Iterable[float], edges: Iterable[float]) -> "Histogram":
        """Count values; one below the first edge goes into the first bin."""
        bounds = list(edges)
        bins = Counter(max(0, bisect_right(bounds, value) - 1) for value in values)
        return cls(edges=bounds, counts=[bins[at] for at in range(len(bounds))])


class Reference(Document, frozen=True, kw_only=True):
    """The distributions of one version.

    From the training part (`training_texts` texts): `label_shares`, by true label; `characters`,
    the length of the text as it came in; `tokens`, the number of tokens after cleaning.

    From the held-out part (`held_out_texts` texts), because a model is surer of texts that it
    learned from, and knows more of their tokens, than it will be with any live text:
    `predicted_shares`, by the label that the model gave; `confidence`, its greatest probability;
    `unknown_tokens`, the share of a text's tokens that are not in the vocabulary (0 for a text
    without tokens), and `unknown_token_share`, that share over all tokens together; `quality`, how
    often it was right and how sure it was. Versions that were trained without it have none.
    """

    reference: Literal[1] = 1
    training_texts: int
    held_out_texts: int
    label_shares: dict[str, Share]
    characters: Histogram
    tokens: Histogram
    predicted_shares: dict[str, Share]
    confidence: Histogram
    unknown_tokens: Histogram
    unknown_token_share: Share
    quality: Tally | None = None
