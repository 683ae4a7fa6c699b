"""Worker process. The task behind every prediction: message in, message out."""

import logging
import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from app.contract import PREDICT_CHUNK, SENT_AT, Chunk, ChunkResult
from app.errors import ServingError
from app.logs import request_scope
from tasks import app, running
from tasks.guarded import GuardedTask

if TYPE_CHECKING:
    from tasks.host import Host

logger = logging.getLogger(__name__)

# Of the time that a caller waits. A chunk that takes more is what time-outs are made of.
SLOW_SHARE = 0.5


@app.task(
    name=PREDICT_CHUNK,
    base=GuardedTask,
    bind=True,
    Request="tasks.chunk_events:ChunkRequest",
    send_events=False,
)
def predict_chunk(self: Any, message: Any) -> dict[str, Any]:
    """Answer a `Chunk` with a `ChunkResult`, both as JSON types.

    Texts whose deadline has passed are answered as expired and not computed. Raises
    `MessageRefused` or `ModelUnavailable`, which arrive in the API process as what they are.
    """
    chunk, request = Chunk.from_message(message), vars(self.request)
    with request_scope(*chunk.request_ids, chunk_id=str(request.get("id")), ref=chunk.ref):
        try:
            return _answer(running.host(), chunk, request).to_message()
        except ServingError as error:
            logger.warning("chunk refused", extra={"code": error.code})
            raise


def _answer(host: "Host", chunk: Chunk, request: Mapping[str, Any]) -> ChunkResult:
    from app.inference.engine import Spent

    started, spent = time.perf_counter(), Spent()
    tracing = host.tracing
    with nullcontext() if tracing is None else tracing.chunk(chunk, request, spent.passes):
        result = host.answer(chunk, spent, request.get(SENT_AT))
    took_s = time.perf_counter() - started
    is_slow = took_s > SLOW_SHARE * host.settings.request_timeout_ms / 1000
    level = logging.WARNING if is_slow else logging.DEBUG
    if logger.isEnabledFor(level):
        details = {"texts": len(chunk.texts), "ms": _ms(took_s)}
        parts = {"preprocess_ms": _ms(spent.preprocess_s), "inference_ms": _ms(spent.inference_s)}
        logger.log(level, "slow chunk" if is_slow else "chunk answered", extra=details | parts)
    return result


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
