"""Worker process. The task behind every prediction: message in, message out."""

import logging
from typing import Any

from app.contract import PREDICT_CHUNK, SENT_AT, Chunk
from app.errors import ServingError
from app.logs import request_scope
from tasks import app, running
from tasks.guarded import GuardedTask

logger = logging.getLogger(__name__)


@app.task(name=PREDICT_CHUNK, base=GuardedTask)
def predict_chunk(message: Any) -> dict[str, Any]:
    """Answer a `Chunk` with a `ChunkResult`, both as JSON types.

    Texts whose deadline has passed are answered as expired and not computed. Raises
    `MessageRefused` or `ModelUnavailable`, which arrive in the API process as what they are.
    """
    chunk = Chunk.from_message(message)
    with request_scope(*chunk.request_ids):
        try:
            return running.host().answer(chunk, predict_chunk.request.get(SENT_AT)).to_message()
        except ServingError as error:
            logger.warning("chunk refused", extra={"ref": chunk.ref, "code": error.code})
            raise
