"""CLI. Where answers come from: the service over HTTP, or a model loaded in this process."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from app.contract import Chunk, Failure, Outcome
from app.errors import TextFailed
from app.models.catalog import Catalog
from app.settings import Settings
from cli.client import ServiceClient
from cli.texts import slices

LOCAL_DEADLINE_S = 3600.0

# `label` and `confidence`, with `scores` where they were asked for, and `truncated` where the text
# was; or `error`.
Row = dict[str, Any]
KEYS = ("label", "confidence", "scores", "truncated", "prediction_id")


class Source(Protocol):
    """Classifies texts; may be used by several threads."""

    ref: str

    def classify(self, texts: Sequence[str], top_k: int | None = None) -> list[Row]:
        """A row per text, in order; `ref` is the exact version afterwards."""
        ...


def open_source(
    settings: Settings, model: str | None, is_local: bool, max_connections: int = 1
) -> Source:
    """The service, or with `is_local` the model itself, loaded and warm."""
    if is_local:
        return LocalSource(settings, model)
    return RemoteSource(settings, model, max_connections)


class RemoteSource:
    """Asks the service. Raises `ServiceUnreachable` and `RequestRefused`."""

    def __init__(self, settings: Settings, model: str | None, max_connections: int = 1) -> None:
        self.ref = model or settings.default_model
        self._client = ServiceClient(settings, max_connections)
        self._choice = {"model_version": model} if model else {}
        self._max_batch_texts = settings.limits.max_batch_texts

    def classify(self, texts: Sequence[str], top_k: int | None = None) -> list[Row]:
        """A request for a single text, else for as many as one may have."""
        if len(texts) == 1 or top_k is not None:
            return [self._one(text, top_k) for text in texts]
        return [row for part in slices(texts, self._max_batch_texts) for row in self._many(part)]

    def _one(self, text: str, top_k: int | None) -> Row:
        choice: Row = self._choice | ({"top_k": top_k} if top_k else {})
        answer = self._client.post("/predict", {"text": text, **choice})
        self.ref = answer["model_version"]
        return {key: answer[key] for key in KEYS if key in answer}

    def _many(self, texts: list[str]) -> list[Row]:
        answer = self._client.post("/batch-predict", {"texts": texts, **self._choice})
        self.ref = answer["model_version"]
        rows: list[Row] = answer["predictions"]
        return rows


class LocalSource:
    """Loads one version into this process. Raises `ModelNotFound` and `ModelUnavailable`."""

    def __init__(self, settings: Settings, model: str | None) -> None:
        # The model libraries: only where they are needed, for they take a second to import.
        from app.inference.local import LocalGateway
        from app.models.registry import Registry

        catalog = Catalog(settings.models_dir, settings.default_model)
        entry = catalog.get(catalog.resolve(model))
        registry = Registry(settings.limits, settings.worker.device)
        registry.reconcile({entry.ref: entry})
        registry.get(str(entry.ref))
        self.ref = str(entry.ref)
        self._gateway = LocalGateway(registry, settings.max_batch_size)

    def classify(self, texts: Sequence[str], top_k: int | None = None) -> list[Row]:
        """All texts as one chunk."""
        chunk = Chunk(
            ref=self.ref,
            texts=list(texts),
            deadline=self._gateway.now() + LOCAL_DEADLINE_S,
            request_ids=["local"],
        )
        result = self._gateway.submit(chunk, "cpu").result()
        return [_row(result.labels, outcome, top_k) for outcome in result.outcomes]


def _row(labels: list[str], outcome: Outcome, top_k: int | None) -> Row:
    if outcome.probabilities is None:
        failure = outcome.error or Failure(TextFailed.code, str(TextFailed()))
        return {"error": msgspec.to_builtins(failure)}
    ranked = sorted(zip(labels, outcome.probabilities, strict=True), key=lambda pair: -pair[1])
    row: Row = {"label": ranked[0][0], "confidence": ranked[0][1]}
    if top_k is not None:
        row["scores"] = [{"label": label, "score": share} for label, share in ranked[:top_k]]
    if outcome.truncated:
        row["truncated"] = True
    return row
