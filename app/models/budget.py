"""Worker process. How many tokens one forward pass takes, padding included: given, then learned."""

import logging
from collections.abc import Iterator

from app.preprocessing.padding import batches, full_batches
from app.preprocessing.subwords import TokenizedTexts

logger = logging.getLogger(__name__)


class TokenBudget:
    """Begins at the manifest's `max_batch_tokens`, and is halved when a batch finds no memory.

    `pads` says whether the model pads the texts of a batch to the longest of them. Threads may
    read and halve it at once: a lost update costs one more failed batch.
    """

    def __init__(self, max_tokens: int, pads: bool) -> None:
        self.max_tokens = max_tokens
        self._pads = pads

    def pieces(self, texts: TokenizedTexts) -> Iterator[list[int]]:
        """Numbers of rows for batches of about equally long texts, each row once.

        A batch is at most as large as the budget, but has at least one text.
        """
        cut = batches if self._pads else full_batches
        return cut(texts.lengths, self.max_tokens)

    def was_too_large(self, texts: TokenizedTexts, ref: str) -> None:
        """Learn that a batch did not fit into memory; a text alone always may."""
        learned = max(1, texts.cost(self._pads) // 2)
        if learned < self.max_tokens:
            self.max_tokens = learned
            details = {"action": "batch_halved", "ref": ref, "max_batch_tokens": learned}
            logger.warning("a batch found no memory; smaller ones from now on", extra=details)
