"""API process. What a worker's reply to a chunk says."""

import logging
from typing import Any

from celery.states import SUCCESS

from app.contract import Chunk, ChunkResult
from app.errors import MessageRefused, ServingError
from app.mailbox import Reply

logger = logging.getLogger(__name__)


def outcome(reply: Reply, chunk: Chunk, backend: Any) -> ChunkResult | ServingError:
    """The result, or why there is none; raises nothing, as somebody waits for either.

    `backend` is Celery's, which knows how workers write an exception down. Call it in the scope of
    the chunk: what went wrong may quote a text.
    """
    try:
        return _result(reply, chunk) if reply.state == SUCCESS else _error(reply, backend)
    except ServingError as error:
        return error
    except Exception:
        logger.exception("reply not understood")
        return ServingError()


def _result(reply: Reply, chunk: Chunk) -> ChunkResult:
    result = ChunkResult.from_message(reply.result)
    if len(result.outcomes) != len(chunk.texts):
        raise MessageRefused(f"{len(result.outcomes)} outcomes of {len(chunk.texts)} texts")
    return result


def _error(reply: Reply, backend: Any) -> ServingError:
    error = backend.exception_to_python(reply.result)
    if isinstance(error, ServingError):
        return error
    logger.error("chunk failed", extra={"kind": type(error).__name__})
    return ServingError()
