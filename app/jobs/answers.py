"""Shared. The answer of a task: the body that /predict or /batch-predict would have had.

`GET /tasks/<id>` and Celery's `AsyncResult(id)` give the same.
"""

from collections.abc import Callable
from typing import Any

from app.contract import Failure
from app.errors import TEXT_ERRORS, JobExpired, JobFailed, TaskCancelled, TextFailed
from app.jobs.ledger import Ledger
from app.jobs.records import Job, Question, Row
from app.jobs.results import rows


def answer(
    ledger: Ledger, job: Job, question: Question, id_of: Callable[[Row], str | None] | None = None
) -> dict[str, Any]:
    """The prediction that `question` asked for, of a task that has ended, in JSON types.

    `id_of` gives predictions their ids for feedback.
    Raises `TaskCancelled`, `JobExpired` or `JobFailed`, the `TextFailed` of a lone text, `JobGone`
    and redis errors.
    """
    _check(job)
    found = list(rows(ledger, job.id))
    took_ms = round(((job.ended_at or job.created_at) - job.created_at) * 1000, 3)
    ref = job.spec.ref
    if question.is_batch:
        items = [_item(row) | _id(row, id_of) for row in found]
        return {"predictions": items, "total_latency_ms": took_ms, "model_version": ref}
    if (failure := found[0].error) is not None:
        raise TEXT_ERRORS.get(failure.code, TextFailed)()
    body = _item(found[0]) | {"latency_ms": took_ms, "model_version": ref}
    body |= _best(job.spec.labels, found[0].scores, question.top_k)
    return body | _id(found[0], id_of)


def _check(job: Job) -> None:
    match job.status:
        case "cancelled":
            raise TaskCancelled()
        case "expired":
            raise JobExpired()
        case "failed":
            raise JobFailed(job.error.message if job.error else "")


def _item(row: Row) -> dict[str, Any]:
    if row.error is not None:
        return {"error": _failure(row.error)}
    cut = {"truncated": True} if row.truncated else {}
    return {"label": row.label, "confidence": row.confidence} | cut


def _id(row: Row, id_of: Callable[[Row], str | None] | None) -> dict[str, Any]:
    found = id_of(row) if id_of else None
    return {} if found is None else {"prediction_id": found}


def _failure(failure: Failure) -> dict[str, str]:
    return {"code": failure.code, "message": failure.message}


def _best(labels: list[str], scores: list[float] | None, top_k: int | None) -> dict[str, Any]:
    if scores is None or top_k is None:
        return {}
    pairs = sorted(zip(labels, scores, strict=True), key=lambda pair: -pair[1])
    return {"scores": [{"label": label, "score": score} for label, score in pairs[:top_k]]}
