"""Shared. What a text will cost a model: its share of a chunk, before it is tokenized."""

from collections.abc import Callable
from functools import partial

from app.models.base import Manifest

# English words and what stands between them, by the tokenizers of BERT and RoBERTa: 4 to 4.5. What
# a token takes is measured in the same unit, so only differences between texts matter.
CHARS_PER_TOKEN = 4
SPECIAL_TOKENS = 2

Measure = Callable[[str], float]


def measure(manifest: Manifest) -> Measure | None:
    """A function from a text to its cost in tokens; None where all texts cost the same."""
    if manifest.batching.cost == "texts":
        return None
    steps = manifest.pipeline
    return partial(_tokens, steps[-1].options.get("max_tokens") if steps else None)


def _tokens(max_tokens: int | None, text: str) -> float:
    tokens = SPECIAL_TOKENS + len(text) / CHARS_PER_TOKEN
    return tokens if max_tokens is None else min(tokens, max_tokens)
