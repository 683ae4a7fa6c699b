"""Contender. The one model that every contender serves, loaded with mlserve's own code."""

import os
from collections.abc import Sequence
from typing import Any, TypedDict

from app.models.base import Ref
from app.models.catalog import Catalog
from app.models.loader import LoadedModel, load
from app.settings import Limits

MODELS_DIR = "BENCH_MODELS_DIR"
REF = "BENCH_REF"


class Answer(TypedDict):
    """A label and its probability, named as mlserve names them."""

    label: str
    confidence: float


class Model:
    """Pipeline and predictor of one version; by default of that which the environment names."""

    def __init__(self, models_dir: str | None = None, ref: str | None = None) -> None:
        ref = ref or os.environ[REF]
        entry = Catalog(models_dir or os.environ[MODELS_DIR], ref).get(Ref.parse(ref))
        self._model: LoadedModel = load(entry, Limits(), "cpu")

    def one(self, text: str) -> Answer:
        """Classify one text."""
        return self.many([text])[0]

    def many(self, texts: Sequence[str]) -> list[Answer]:
        """Classify texts in one forward pass."""
        labels = self._model.labels
        rows = self._model.predictor.predict_proba(self._features(texts))
        best = rows.argmax(axis=1).tolist()
        return [
            Answer(label=labels[index], confidence=row[index])
            for index, row in zip(best, rows.tolist(), strict=True)
        ]

    def in_pieces(self, texts: Sequence[str], max_tokens: int) -> int:
        """Compute texts sorted by length, in batches of so many padded tokens; how many texts.

        For a version whose features are token ids.
        """
        features = self._features(texts)
        for rows in features.pieces(max_tokens):
            self._model.predictor.predict_proba(features[rows])
        return len(texts)

    def _features(self, texts: Sequence[str]) -> Any:
        pipeline = self._model.pipeline
        return pipeline.extract([pipeline.clean(text) for text in texts])
