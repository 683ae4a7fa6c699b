"""Contender. The one model that every contender serves, loaded with mlserve's own code."""

import os
from collections.abc import Sequence
from typing import TypedDict

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
        pipeline, labels = self._model.pipeline, self._model.labels
        features = pipeline.extract([pipeline.clean(text) for text in texts])
        rows = self._model.predictor.predict_proba(features)
        best = rows.argmax(axis=1).tolist()
        return [
            Answer(label=labels[index], confidence=row[index])
            for index, row in zip(best, rows.tolist(), strict=True)
        ]
