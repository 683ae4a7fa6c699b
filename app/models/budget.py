"""Worker process. How many tokens one forward pass takes, padding included: given, then learned."""

import logging
from typing import Optional

from app.models.base import Batching

logger = logging.getLogger(__name__)


class TokenBudget:
    """Begins at the manifest's `max_batch_tokens`, and is halved when a batch finds no memory.

    Threads may read and halve it at once: a lost update costs one more failed batch.
    """

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens

    @classmethod
    def of(cls, batching: Batching) -> Optional["TokenBudget"]:
        """None where texts are counted, not tokens."""
        return cls(batching.max_batch_tokens) if batching.cost == "padded_tokens" else None

    def was_too_large(self, tokens: int, ref: str) -> None:
        """Learn that a batch of `tokens` did not fit into memory; the text alone always may."""
        learned = max(1, tokens // 2)
        if learned < self.max_tokens:
            self.max_tokens = learned
            details = {"action": "batch_halved", "ref": ref, "max_batch_tokens": learned}
            logger.warning("a batch found no memory; smaller ones from now on", extra=details)
