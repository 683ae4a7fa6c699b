"""Contender. The one model that every contender serves.

Linear models are loaded with mlserve's own code, transformers with transformers'.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypedDict

from app.models.base import Ref
from app.models.catalog import Catalog
from app.models.loader import LoadedModel, load
from app.settings import Limits

MODELS_DIR = "BENCH_MODELS_DIR"
REF = "BENCH_REF"
DIRECTORY = "BENCH_DIRECTORY"


class Answer(TypedDict):
    """A label and its probability, named as mlserve names them."""

    label: str
    confidence: float


class Classifier(Protocol):
    """What servers with the model in their own process call."""

    def one(self, text: str) -> Answer:
        """Classify one text."""
        ...

    def many(self, texts: Sequence[str]) -> list[Answer]:
        """Classify texts in one forward pass."""
        ...


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

    def _features(self, texts: Sequence[str]) -> Any:
        pipeline = self._model.pipeline
        return pipeline.extract([pipeline.clean(text) for text in texts])


def load_classifier() -> Classifier:
    """The Hugging Face directory that the environment names, or else its version."""
    if DIRECTORY not in os.environ:
        return Model()
    from benchmarks.servers.transformer import Transformer

    return Transformer(Path(os.environ[DIRECTORY]))
