"""Worker process. Answers a chunk: cleaning, batches, one outcome per text in the chunk's order.

Invariant: one bad text never fails its neighbours, and nothing is computed after the deadline.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.contract import EXPIRED, Chunk, ChunkResult, Failure, Outcome
from app.errors import ArtifactInvalid, TextFailed, TextOutOfMemory
from app.models.loader import LoadedModel
from app.preprocessing.subwords import TokenizedTexts

logger = logging.getLogger(__name__)

TEXT_FAILED = Outcome(error=Failure(TextFailed.code, str(TextFailed())))
OUT_OF_MEMORY = Outcome(error=Failure(TextOutOfMemory.code, str(TextOutOfMemory())))


@dataclass(slots=True)
class Spent:
    """Seconds on one chunk so far."""

    preprocess_s: float = 0.0
    inference_s: float = 0.0


def predict(
    model: LoadedModel, chunk: Chunk, *, max_batch_size: int, now: Callable[[], float]
) -> ChunkResult:
    """An outcome per text: probabilities, a failure, or `expired` where time ran out.

    `now` gives seconds of the clock that `chunk.deadline` is in; it is asked before every batch of
    at most `max_batch_size` texts. Raises nothing that a text could cause.
    """
    spent = Spent()
    outcomes = []
    for start in range(0, len(chunk.texts), max_batch_size):
        texts = chunk.texts[start : start + max_batch_size]
        if now() >= chunk.deadline:
            outcomes += [EXPIRED] * len(texts)
        else:
            outcomes += _answer(model, texts, spent, lambda: now() >= chunk.deadline)
    return ChunkResult(
        ref=chunk.ref,
        labels=model.labels,
        outcomes=outcomes,
        preprocess_s=spent.preprocess_s,
        inference_s=spent.inference_s,
    )


def _answer(
    model: LoadedModel, texts: Sequence[str], spent: Spent, is_late: Callable[[], bool]
) -> list[Outcome]:
    started = time.perf_counter()
    cleaned = [_clean(model, text) for text in texts]
    spent.preprocess_s += time.perf_counter() - started
    usable = [text for text in cleaned if isinstance(text, str)]
    answers = iter(_batch(model, usable, spent, is_late) if usable else ())
    return [next(answers) if isinstance(text, str) else text for text in cleaned]


def _clean(model: LoadedModel, text: str) -> str | Outcome:
    try:
        return model.pipeline.clean(text)
    except Exception as error:  # noqa: BLE001 - whatever a text trips is that text's failure
        return _failed(model, error)


def _batch(
    model: LoadedModel, cleaned: list[str], spent: Spent, is_late: Callable[[], bool]
) -> list[Outcome]:
    try:
        return _forward(model, cleaned, spent)
    except Exception as error:  # noqa: BLE001 - the texts are tried one by one before any fails
        if len(cleaned) == 1:
            return [_failed(model, error)]
    return [EXPIRED if is_late() else _batch(model, [text], spent, is_late)[0] for text in cleaned]


def _forward(model: LoadedModel, cleaned: list[str], spent: Spent) -> list[Outcome]:
    started = time.perf_counter()
    features = model.pipeline.extract(cleaned)
    extracted = time.perf_counter()
    found: Any = model.predictor.predict_proba(features)
    spent.preprocess_s += extracted - started
    spent.inference_s += time.perf_counter() - extracted
    if found.shape != (len(cleaned), len(model.labels)) or not np.isfinite(found).all():
        raise ArtifactInvalid(model.ref, "the prediction has a wrong shape or is not finite")
    rows = found.tolist()
    if not isinstance(features, TokenizedTexts):
        return [Outcome(row) for row in rows]
    pairs = zip(rows, features.truncated, strict=True)
    return [Outcome(row, truncated=truncated) for row, truncated in pairs]


def _failed(model: LoadedModel, error: Exception) -> Outcome:
    # The message of a library may quote the text: only the kind of error is logged.
    logger.warning(
        "text failed",
        extra={"action": "text_failed", "ref": model.ref, "kind": type(error).__name__},
    )
    return OUT_OF_MEMORY if isinstance(error, MemoryError) else TEXT_FAILED
