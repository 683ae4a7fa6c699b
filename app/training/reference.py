"""Worker process. Computes the reference distributions of a freshly trained version."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from app.models.reference import (
    CHARACTER_EDGES,
    CONFIDENCE_EDGES,
    TOKEN_EDGES,
    UNKNOWN_EDGES,
    Embedding,
    Histogram,
    Reference,
)
from app.models.tally import Tally
from app.preprocessing.pipeline import Pipeline
from app.training.data import Labelled

DIGITS = 6
DISTANCE_BINS = 20
# So many texts are embedded at a time.
BATCH_TEXTS = 256

Embed = Callable[[Any], Any]


def measure(
    training: Labelled,
    held_out: Labelled,
    probabilities: Any,
    pipeline: Pipeline,
    embed: Embed | None = None,
) -> Reference:
    """The reference of a model that gave `probabilities` (n, labels) for the n held-out texts.

    `embed` maps features of n texts to an array (n, dimensions), for models that have embeddings.
    """
    names = training.names()
    cleaned = [pipeline.clean(text) for text in training.texts]
    unknown = [_unknown(pipeline, text) for text in held_out.texts]
    all_tokens = sum(tokens for _, tokens in unknown)
    return Reference(
        training_texts=len(training),
        held_out_texts=len(held_out),
        label_shares=_shares(training.labels, names),
        characters=Histogram.of(map(len, training.texts), CHARACTER_EDGES),
        tokens=Histogram.of((len(pipeline.tokens(text)) for text in cleaned), TOKEN_EDGES),
        predicted_shares=_shares([names[at] for at in np.argmax(probabilities, axis=1)], names),
        confidence=Histogram.of(np.max(probabilities, axis=1).tolist(), CONFIDENCE_EDGES),
        unknown_tokens=Histogram.of((u / max(1, n) for u, n in unknown), UNKNOWN_EDGES),
        unknown_token_share=round(sum(u for u, _ in unknown) / max(1, all_tokens), DIGITS),
        quality=quality(held_out, probabilities, names),
        embedding=embed and _embedding(training.texts, held_out.texts, pipeline, embed),
    )


def _embedding(
    training: Sequence[str], held_out: Sequence[str], pipeline: Pipeline, embed: Embed
) -> Embedding:
    def embedded(texts: Sequence[str]) -> Any:
        cleaned = [pipeline.clean(text) for text in texts]
        batches = (cleaned[at : at + BATCH_TEXTS] for at in range(0, len(cleaned), BATCH_TEXTS))
        return np.vstack([embed(pipeline.extract(batch)) for batch in batches])

    # As it is written: distances to another centroid would be others.
    centroid = np.round(embedded(training).mean(axis=0, dtype=np.float64), DIGITS)
    distances = np.linalg.norm(embedded(held_out) - centroid, axis=1)
    inner = np.quantile(distances, np.arange(1, DISTANCE_BINS) / DISTANCE_BINS)
    edges = np.unique([0.0, *np.round(inner, DIGITS)])
    return Embedding(
        centroid=centroid.tolist(),
        distances=Histogram.of(distances.tolist(), edges.tolist()),
    )


def quality(held_out: Labelled, probabilities: Any, names: Sequence[str]) -> Tally:
    """How often probabilities (n, labels) for the n held-out texts are right, and how sure."""
    true = [names.index(label) for label in held_out.labels]
    return Tally.of(names, zip(true, probabilities.tolist(), strict=True))


def _unknown(pipeline: Pipeline, text: str) -> tuple[int, int]:
    """How many of a text's tokens are unknown, and how many tokens it has."""
    tokens = pipeline.tokens(pipeline.clean(text))
    return sum(not pipeline.is_known(token) for token in tokens), len(tokens)


def _shares(labels: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    counts = Counter(labels)
    return {name: round(counts[name] / len(labels), DIGITS) for name in names}
