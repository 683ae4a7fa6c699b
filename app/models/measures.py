"""Worker process. What is measured of a version's traffic, in the bins of its reference."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from app.models.reference import Known
from app.preprocessing.pipeline import Pipeline

LABELS = "labels"


class Measures:
    """Measures of one version; immutable. Bins of all features stand in one row, `labels` first.

    `key` is that of the reference. A feature that the model has not (unknown tokens without a
    vocabulary, distances without embeddings) is not measured.
    """

    def __init__(self, known: Known, labels: Sequence[str], pipeline: Pipeline) -> None:
        self.key = known.key
        self._pipeline, vocabulary = pipeline, pipeline.vocabulary
        # The container's own method: `pipeline.is_known` is several times as slow.
        self._is_known: Callable[[str], bool] | None = (
            None if vocabulary is None else vocabulary.__contains__
        )
        embedding, histograms = known.reference.embedding, known.reference.histograms()
        self._edges = {name: np.asarray(h.edges) for name, h in histograms.items()}
        self._centroid = np.asarray(embedding.centroid) if embedding else None
        self._places: dict[str, int] = {LABELS: 0}
        self.bins = len(labels)
        for name, edges in self._edges.items():
            self._places[name] = self.bins
            self.bins += len(edges)

    @property
    def wants_embeddings(self) -> bool:
        """Whether `places` can measure distances."""
        return self._centroid is not None

    def places(
        self, texts: Sequence[str], cleaned: Sequence[str], probabilities: Any, embedded: Any = None
    ) -> Any:
        """Where n texts are counted, an array (features, n) of places in the row of all bins.

        `texts` as they came in and after cleaning, their probabilities (n, labels) and, where there
        are any, their embeddings (n, dimensions).
        """
        rows = [
            probabilities.argmax(axis=1),
            self._bin("confidence", probabilities.max(axis=1)),
            self._bin("characters", list(map(len, texts))),
        ]
        if self._is_known is not None:
            rows.append(self._bin("unknown_tokens", self._unknown(cleaned, self._is_known)))
        if self._centroid is not None and embedded is not None:
            away = embedded - self._centroid
            rows.append(self._bin("distance", np.sqrt((away * away).sum(axis=1))))
        return np.stack(rows)

    def count(self, places: Any) -> Any:
        """How many of `places` are in each bin: an array (bins,)."""
        return np.bincount(places.ravel(), minlength=self.bins)

    def by_feature(self, counts: Any) -> Mapping[str, list[int]]:
        """The counts of a row of all bins, feature by feature."""
        ends = [*list(self._places.values())[1:], self.bins]
        return {
            name: counts[start:end].tolist()
            for (name, start), end in zip(self._places.items(), ends, strict=True)
        }

    def _bin(self, name: str, values: Any) -> Any:
        found = self._edges[name].searchsorted(values, side="right") - 1
        return np.maximum(found, 0) + self._places[name]

    def _unknown(self, cleaned: Sequence[str], is_known: Callable[[str], bool]) -> list[float]:
        """The share of each text's tokens that the model does not know; 0 without tokens."""
        shares = []
        for tokens in map(self._pipeline.tokens, cleaned):
            # Divided once, as training does it: 1 - 23/25 is not 2/25, and lies in another bin.
            shares.append((len(tokens) - sum(map(is_known, tokens))) / max(1, len(tokens)))
        return shares
