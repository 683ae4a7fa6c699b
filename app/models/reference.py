"""Shared. reference.json: how the texts and answers of a version looked when it was trained.

Drift is measured against it: live traffic is counted into the same bins.
"""

import hashlib
import os
import stat
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec

from app.models.base import Document, Manifest
from app.models.tally import Tally

REFERENCE_FILE = "reference.json"
MAX_REFERENCE_BYTES = 1 << 20
MAX_BINS = 100

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]

# Steps of about a fifth: a post and an article differ, and so do two lengths of articles.
CHARACTER_EDGES = (
    *(0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 120, 140, 160, 180, 200, 250, 300, 350, 400),
    *(500, 600, 700, 800, 1000, 1200, 1500, 2000, 2500, 3000, 4000, 5000, 6000, 8000, 10_000),
)
TOKEN_EDGES = (0, 1, 2, 4, 6, 8, 10, 12, 15, 20, 25, 30, 40, 60, 100, 1000)
# Finer where models that are sure, and texts that are long, have all of their values.
CONFIDENCE_EDGES = (*(step / 20 for step in range(20)), 0.97, 0.98, 0.99, 0.995, 0.999)
UNKNOWN_EDGES = (
    *(0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.12, 0.14, 0.16, 0.18),
    *(0.2, 0.225, 0.25, 0.275, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9),
)


class Histogram(Document, frozen=True, kw_only=True):
    """Counts by bin: bin i holds `edges[i] <= value < edges[i + 1]`, the last has no upper end."""

    edges: Annotated[list[float], msgspec.Meta(min_length=1, max_length=MAX_BINS)]
    counts: list[Count]

    @classmethod
    def of(cls, values: Iterable[float], edges: Iterable[float]) -> "Histogram":
        """Count values; one below the first edge goes into the first bin."""
        bounds = list(edges)
        bins = Counter(max(0, bisect_right(bounds, value) - 1) for value in values)
        return cls(edges=bounds, counts=[bins[at] for at in range(len(bounds))])

    @property
    def is_sound(self) -> bool:
        """Whether edges ascend, each has its count, and anything was counted."""
        ascend = all(low < high for low, high in pairwise(self.edges))
        return ascend and len(self.edges) == len(self.counts) and sum(self.counts) > 0


class Embedding(Document, frozen=True, kw_only=True):
    """Where the texts lie in the space that the model's last layer sees, for embedding models.

    `centroid` is the mean of the training texts; `distances` are those of the held-out texts to it,
    Euclidean, with edges at their own quantiles.
    """

    centroid: Annotated[list[float], msgspec.Meta(min_length=1, max_length=16_384)]
    distances: Histogram


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

    Lengths need no held-out texts: which texts are held out does not depend on them.
    """

    reference: Literal[1] = 1
    training_texts: Count
    held_out_texts: Count
    label_shares: dict[str, Share]
    characters: Histogram
    tokens: Histogram
    predicted_shares: dict[str, Share]
    confidence: Histogram
    unknown_tokens: Histogram
    unknown_token_share: Share
    quality: Tally | None = None
    embedding: Embedding | None = None

    def histograms(self) -> dict[str, Histogram]:
        """What live traffic is counted into, by feature, besides the labels."""
        found = {
            "confidence": self.confidence,
            "characters": self.characters,
            "unknown_tokens": self.unknown_tokens,
        }
        return found | ({"distance": self.embedding.distances} if self.embedding else {})

    def predicted_counts(self, labels: Iterable[str]) -> list[int]:
        """How many held-out texts the model gave each label."""
        return [round(self.predicted_shares[label] * self.held_out_texts) for label in labels]


class Known(NamedTuple):
    """A reference that can be used; `key` stands for it and for everything that decides an answer.

    What was counted for another file or another artifact of the same ref has another key.
    """

    key: str
    reference: Reference


def read(folder: Path, manifest: Manifest) -> Known | None:
    """The reference in a version's directory; None where there is none that can be used."""
    try:
        content = _content(folder / REFERENCE_FILE)
        reference = msgspec.json.decode(content, type=Reference)
    except (OSError, ValueError):
        return None
    if not _is_usable(reference, manifest.labels):
        return None
    digest = hashlib.sha256(manifest.digest.encode() + content).hexdigest()
    return Known(f"{manifest.ref}:{digest[:16]}", reference)


def quality(folder: Path, manifest: Manifest) -> Tally | None:
    """How good the version was on the held-out texts; None where that cannot be read."""
    known = read(folder, manifest)
    return known.reference.quality if known else None


def _content(file: Path) -> bytes:
    # A pipe opened without O_NONBLOCK would wait for its writer.
    with open(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as opened:
        status = os.fstat(opened.fileno())
        is_wrong = not stat.S_ISREG(status.st_mode) or status.st_size > MAX_REFERENCE_BYTES
        return b"" if is_wrong else opened.read(MAX_REFERENCE_BYTES)


def _is_usable(reference: Reference, labels: list[str]) -> bool:
    if set(reference.predicted_shares) != set(labels) or not reference.held_out_texts:
        return False
    histograms: Mapping[str, Histogram] = reference.histograms()
    return all(histogram.is_sound for histogram in histograms.values())
