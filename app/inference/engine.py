"""Worker process. Answers a chunk: cleaning, batches, one outcome per text in the chunk's order.

Invariant: one bad text never fails its neighbours, and nothing is computed after the deadline.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from msgspec import UNSET

from app.contract import EXPIRED, Chunk, ChunkResult, Failure, Outcome
from app.errors import ArtifactInvalid, TextFailed, TextOutOfMemory
from app.inference.traffic import Traffic
from app.models.budget import TokenBudget
from app.models.loader import LoadedModel
from app.preprocessing.subwords import TokenizedTexts
from app.tracing.chunks import Pass

logger = logging.getLogger(__name__)

# Texts of one forward pass: the place of each in the chunk, and what cleaning made of it.
Batch = Sequence[tuple[int, str]]

TEXT_FAILED = Outcome(error=Failure(TextFailed.code, str(TextFailed())))
OUT_OF_MEMORY = Outcome(error=Failure(TextOutOfMemory.code, str(TextOutOfMemory())))


@dataclass(slots=True)
class Spent:
    """Seconds on one chunk so far, the forward passes, and tokens without and with padding."""

    preprocess_s: float = 0.0
    inference_s: float = 0.0
    passes: list[Pass] = field(default_factory=list)
    tokens: int = 0
    padded_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """A chunk that is being computed; `now` gives seconds of the clock of its deadlines.

    `traffic` counts what is answered.
    """

    model: LoadedModel
    chunk: Chunk
    now: Callable[[], float]
    spent: Spent
    traffic: Traffic | None = None

    def deadline(self, place: int) -> float:
        """Until when the text at `place` is wanted."""
        return self.chunk.deadlines[place] if self.chunk.deadlines else self.chunk.deadline

    def still_wanted(self, places: Iterable[int]) -> list[int]:
        """Those of `places` whose time has not run out."""
        moment = self.now()
        return [place for place in places if moment < self.deadline(place)]


def predict(
    model: LoadedModel,
    chunk: Chunk,
    *,
    max_batch_size: int,
    now: Callable[[], float],
    spent: Spent | None = None,
    traffic: Traffic | None = None,
) -> ChunkResult:
    """An outcome per text: probabilities, a failure, or `expired` where time ran out.

    `now` gives seconds of the clock that deadlines are in; it is asked before every batch of at
    most `max_batch_size` texts. `spent` is added to, and what is answered is counted in `traffic`.
    Raises nothing that a text could cause.
    """
    work = Work(model, chunk, now, Spent() if spent is None else spent, traffic)
    outcomes = []
    for start in range(0, len(chunk.texts), max_batch_size):
        places = range(start, min(start + max_batch_size, len(chunk.texts)))
        outcomes += _answer(work, places)
    return ChunkResult(
        ref=chunk.ref,
        labels=model.labels,
        outcomes=outcomes,
        preprocess_s=work.spent.preprocess_s,
        inference_s=work.spent.inference_s,
        tokens=work.spent.tokens or UNSET,
        padded_tokens=work.spent.padded_tokens or UNSET,
    )


def _answer(work: Work, places: Sequence[int]) -> list[Outcome]:
    wanted = work.still_wanted(places)
    started = time.perf_counter()
    cleaned = {place: _clean(work.model, work.chunk.texts[place]) for place in wanted}
    work.spent.preprocess_s += time.perf_counter() - started
    usable = {place: text for place, text in cleaned.items() if isinstance(text, str)}
    answers = dict(zip(usable, _batch(work, usable), strict=True)) if usable else {}
    failed = {place: text for place, text in cleaned.items() if not isinstance(text, str)}
    known = answers | failed
    return [known.get(place, EXPIRED) for place in places]


def _clean(model: LoadedModel, text: str) -> str | Outcome:
    try:
        return model.pipeline.clean(text)
    except Exception as error:  # noqa: BLE001 - whatever a text trips is that text's failure
        return _failed(model, error)


def _batch(work: Work, cleaned: Mapping[int, str]) -> list[Outcome]:
    try:
        return _forward(work, cleaned)
    except Exception as error:  # noqa: BLE001 - the texts are tried one by one before any fails
        if len(cleaned) == 1:
            return [_failed(work.model, error)]
    return [
        _batch(work, {place: text})[0] if work.still_wanted([place]) else EXPIRED
        for place, text in cleaned.items()
    ]


def _forward(work: Work, cleaned: Mapping[int, str]) -> list[Outcome]:
    started = time.perf_counter()
    features = work.model.pipeline.extract(list(cleaned.values()))
    work.spent.preprocess_s += time.perf_counter() - started
    batch = list(cleaned.items())
    if not isinstance(features, TokenizedTexts):
        return [Outcome(row) for row in _rows(work, features, batch)]
    if work.model.budget is None:
        return _tokenized(work, features, batch)
    return _in_pieces(work, features, batch, work.model.budget)


def _in_pieces(
    work: Work, texts: TokenizedTexts, batch: Batch, budget: TokenBudget
) -> list[Outcome]:
    """Batches of about equally long texts, those first whose time runs out first."""
    outcomes = [EXPIRED] * len(texts)
    deadlines = [work.deadline(place) for place, _ in batch]
    pieces = budget.pieces(texts)
    for rows in sorted(pieces, key=lambda rows: min(deadlines[row] for row in rows)):
        moment = work.now()
        if wanted := [row for row in rows if moment < deadlines[row]]:
            piece = _piece(work, texts[wanted], [batch[row] for row in wanted], budget)
            for row, outcome in zip(wanted, piece, strict=True):
                outcomes[row] = outcome
    return outcomes


def _piece(work: Work, texts: TokenizedTexts, batch: Batch, budget: TokenBudget) -> list[Outcome]:
    try:
        return _tokenized(work, texts, batch)
    except Exception as error:  # noqa: BLE001 - halves are tried before any text fails
        if len(texts) == 1:
            return [_failed(work.model, error)]
        if isinstance(error, MemoryError):
            budget.was_too_large(texts, work.model.ref)
    half = len(texts) // 2
    first = _piece(work, texts[:half], batch[:half], budget)
    return first + _piece(work, texts[half:], batch[half:], budget)


def _tokenized(work: Work, texts: TokenizedTexts, batch: Batch) -> list[Outcome]:
    rows = _rows(work, texts, batch)
    work.spent.tokens += sum(texts.lengths)
    work.spent.padded_tokens += texts.cost(work.model.pads)
    pairs = zip(rows, texts.truncated, strict=True)
    return [Outcome(row, truncated=truncated) for row, truncated in pairs]


def _rows(work: Work, features: Any, batch: Batch) -> list[list[float]]:
    started = time.perf_counter()
    found, embedded = _infer(work.model, features)
    ended = time.perf_counter()
    work.spent.inference_s += ended - started
    work.spent.passes.append(Pass(len(batch), started, ended))
    if found.shape != (len(batch), len(work.model.labels)) or not np.isfinite(found).all():
        raise ArtifactInvalid(work.model.ref, "the prediction has a wrong shape or is not finite")
    if work.traffic is not None:
        texts = [work.chunk.texts[place] for place, _ in batch]
        work.traffic.see(work.model, texts, [cleaned for _, cleaned in batch], found, embedded)
    rows: list[list[float]] = found.tolist()
    return rows


def _infer(model: LoadedModel, features: Any) -> tuple[Any, Any]:
    """Probabilities, and embeddings where the reference has distances to compare with."""
    if model.embedder is not None:
        return model.embedder.predict_embedded(features)
    return model.predictor.predict_proba(features), None


def _failed(model: LoadedModel, error: Exception) -> Outcome:
    # The message of a library may quote the text: only the kind of error is logged.
    logger.warning(
        "text failed",
        extra={"action": "text_failed", "ref": model.ref, "kind": type(error).__name__},
    )
    return OUT_OF_MEMORY if isinstance(error, MemoryError) else TEXT_FAILED
