"""API process. POST /predict and POST /batch-predict: the hot routes."""

from collections import Counter

import msgspec

from app.api import prefer
from app.api.extensions import RETRY_AFTER_HEADER, TEXT, Blueprint, View
from app.api.hot import Answered, Call
from app.api.routes.common import ASK_AGAIN_S, PREDICTION_EXAMPLE
from app.api.schemas.jobs import TaskSchema, pending_task
from app.api.schemas.predict import (
    BatchBody,
    BatchPrediction,
    BatchPredictionSchema,
    Failed,
    Labelled,
    PredictBody,
    Prediction,
    PredictionSchema,
    Score,
)
from app.api.scope import elapsed_ms
from app.api.services import Services
from app.contract import EXPIRED_CODE, Failure, Outcome
from app.errors import (
    TEXT_ERRORS,
    BrokerUnavailable,
    MessageRefused,
    ModelNotFound,
    ModelUnavailable,
    NoWorker,
    Overloaded,
    PredictionTimeout,
    ServingError,
    ShuttingDown,
    StorageFull,
    SubmissionLost,
    TextFailed,
    TextOutOfMemory,
    WorkerOutOfMemory,
)
from app.inference.answer import Answer
from app.jobs.records import Question
from app.monitoring.metrics import Metrics

blp = Blueprint("predict", __name__, description="Classify texts")

CANNOT_ANSWER = (
    ModelNotFound,
    NoWorker,
    Overloaded,
    BrokerUnavailable,
    ModelUnavailable,
    MessageRefused,
    WorkerOutOfMemory,
    ShuttingDown,
    PredictionTimeout,
    StorageFull,
    SubmissionLost,
    ServingError,
)
CACHE_HEADER = "X-Cache"
TIMING_HEADER = "Server-Timing"

HEADERS = prefer.APPLIED | {
    CACHE_HEADER: {
        "description": "Where the answer came from.",
        "schema": {"type": "string", "enum": ["hit", "coalesced", "miss"]},
    },
    TIMING_HEADER: {
        "description": "Milliseconds: `batch`, `queue`, `preprocess`, `inference`; or `cache`.",
        "schema": {
            "type": "string",
            "example": "batch;dur=0.1, queue;dur=1.2, preprocess;dur=0.2, inference;dur=0.4",
        },
    },
}

ACCEPTED_HEADERS = {
    "Location": {"description": "Where the answer will be.", "schema": TEXT},
    **prefer.APPLIED,
    **RETRY_AFTER_HEADER,
}

_encoder = msgspec.json.Encoder()


def answers_later(view: View) -> View:
    """What it may answer with `Prefer: respond-async`, and why not."""
    described = blp.also(
        202,
        TaskSchema,
        example=pending_task("7c0f0f5e-3c0e-4d0c-9a53-0d2d3a3c6c1b"),
        description="It was put off: `Prefer: respond-async`.",
        headers=ACCEPTED_HEADERS,
    )(view)
    return blp.reads(prefer.PARAMETER)(described)


@blp.hot("/predict")
@blp.accepts(PredictBody, example={"text": "I love this", "model_version": "sentiment-v2"})
@blp.returns(
    PredictionSchema,
    example=PREDICTION_EXAMPLE,
    headers=HEADERS,
)
@answers_later
@blp.raises(*CANNOT_ANSWER, TextFailed, TextOutOfMemory)
async def predict(has: Services, call: Call) -> Answered:
    """Classify one text."""
    body = has.gate.decode(call.body, PredictBody)
    if call.prefer and prefer.is_async_at_once(call.prefer):
        return await _defer(has, call, [body.text], body)
    try:
        result = await _classify(has, call, [body.text], body.model_version)
        item = _item(result.labels, result.outcomes[0])
        if isinstance(item, Failed):
            if has.metrics:
                has.metrics.count_failures(result.ref, item.error.code)
            raise _text_error(item.error, result)
    except PredictionTimeout as late:
        return await _keep(has, call, late, [body.text], body)
    if has.metrics:
        has.metrics.count_texts(result.ref, item.label)
    answer = Prediction(
        label=item.label,
        confidence=item.confidence,
        latency_ms=elapsed_ms(call.started),
        model_version=result.ref,
        scores=_scores(result, body.top_k),
        truncated=item.truncated,
        prediction_id=(await _ids(has, result))[0] if has.feedback else msgspec.UNSET,
    )
    return _respond(call, answer, result)


@blp.hot("/batch-predict")
@blp.accepts(BatchBody, example={"texts": ["I love this", "I hate that"]})
@blp.returns(
    BatchPredictionSchema,
    example={
        "predictions": [
            {"label": "positive", "confidence": 0.97},
            {"error": {"code": "text_failed", "message": str(TextFailed())}},
        ],
        "total_latency_ms": 4.5,
        "model_version": "sentiment-v2",
    },
    headers=HEADERS,
)
@answers_later
@blp.raises(*CANNOT_ANSWER)
async def batch_predict(has: Services, call: Call) -> Answered:
    """Classify several texts.

    Answers keep the order of the texts. A text that fails has an `error` and does not fail the
    others.
    """
    body = has.gate.decode(call.body, BatchBody)
    if call.prefer and prefer.is_async_at_once(call.prefer):
        return await _defer(has, call, body.texts, body)
    try:
        result = await _classify(has, call, body.texts, body.model_version)
    except PredictionTimeout as late:
        return await _keep(has, call, late, body.texts, body)
    items = [_item(result.labels, outcome) for outcome in result.outcomes]
    if has.metrics:
        _count(has.metrics, result.ref, items)
    if has.feedback:
        items = [_named(*pair) for pair in zip(items, await _ids(has, result), strict=True)]
    answer = BatchPrediction(
        predictions=items,
        total_latency_ms=elapsed_ms(call.started),
        model_version=result.ref,
    )
    return _respond(call, answer, result)


async def _classify(
    has: Services, call: Call, texts: list[str], model_version: str | None
) -> Answer:
    wait_s = prefer.wait_s(call.prefer)
    result = await has.predictions.predict(texts, model_version, call.request_id, wait_s, call.left)
    if call.span is not None:
        call.span.waited(result.timing)
    if has.metrics:
        has.metrics.count_sources(len(texts), result.remembered, result.joined)
    return result


async def _defer(
    has: Services, call: Call, texts: list[str], body: PredictBody | BatchBody
) -> Answered:
    task_id = await has.tasks.put(texts, body.model_version, _question(body))
    return _accepted(call, task_id)


async def _keep(
    has: Services,
    call: Call,
    late: PredictionTimeout,
    texts: list[str],
    body: PredictBody | BatchBody,
) -> Answered:
    kept = await has.tasks.keep(late, texts, _question(body))
    if kept.task_id is None or not prefer.is_async(call.prefer):
        raise kept
    return _accepted(call, kept.task_id)


def _question(body: PredictBody | BatchBody) -> Question:
    if isinstance(body, BatchBody):
        return Question(is_batch=True)
    return Question(is_batch=False, top_k=body.top_k)


def _accepted(call: Call, task_id: str) -> Answered:
    headers = {"Location": f"/tasks/{task_id}", "Retry-After": str(ASK_AGAIN_S)}
    told = headers | prefer.applied(call.prefer)
    return Answered(_encoder.encode(pending_task(task_id)), list(told.items()), 202)


def _respond(call: Call, answer: Prediction | BatchPrediction, result: Answer) -> Answered:
    headers: list[tuple[str, str]] = [(CACHE_HEADER, result.source)]
    details = {"ref": result.ref}
    if (timing := result.server_timing) is not None:
        headers.append((TIMING_HEADER, timing))
        details["timing"] = timing
    headers.extend(prefer.waited(call.prefer).items())
    return Answered(_encoder.encode(answer), headers, details=details)


def _count(metrics: Metrics, ref: str, items: list[Labelled | Failed]) -> None:
    for label, texts in Counter(i.label for i in items if isinstance(i, Labelled)).items():
        metrics.count_texts(ref, label, texts)
    for code, texts in Counter(i.error.code for i in items if isinstance(i, Failed)).items():
        metrics.count_failures(ref, code, texts)


def _item(labels: list[str], outcome: Outcome) -> Labelled | Failed:
    probabilities = outcome.probabilities
    if probabilities is None:
        return Failed(outcome.error or Failure(TextFailed.code, str(TextFailed())))
    confidence = max(probabilities)
    label = labels[probabilities.index(confidence)]
    return Labelled(label, confidence, outcome.truncated or msgspec.UNSET)


async def _ids(has: Services, result: Answer) -> list[str | msgspec.UnsetType]:
    found = await has.feedback.ids(result) if has.feedback else []
    return [one or msgspec.UNSET for one in found]


def _named(item: Labelled | Failed, prediction_id: str | msgspec.UnsetType) -> Labelled | Failed:
    if isinstance(item, Failed):
        return item
    return Labelled(item.label, item.confidence, item.truncated, prediction_id)


def _scores(result: Answer, top_k: int | None) -> list[Score] | msgspec.UnsetType:
    if top_k is None:
        return msgspec.UNSET
    pairs = zip(result.labels, result.outcomes[0].probabilities or (), strict=True)
    return sorted((Score(*pair) for pair in pairs), key=lambda score: -score.score)[:top_k]


def _text_error(failure: Failure, result: Answer) -> ServingError:
    if failure.code == EXPIRED_CODE:
        return PredictionTimeout(round(result.wait_s * 1000), result.ref)
    return TEXT_ERRORS.get(failure.code, TextFailed)()
