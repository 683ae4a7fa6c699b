"""Contender. The transformer as transformers computes it: each batch padded to its longest text."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification

from app.models.threads import limit_torch
from app.preprocessing.padding import batches
from app.preprocessing.subwords import SubwordIds, TokenizedTexts
from benchmarks.servers.model import Answer


class Transformer:
    """A Hugging Face directory, answering as `benchmarks.servers.model.Model` does."""

    def __init__(self, directory: Path) -> None:
        limit_torch()
        said = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))
        tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer = SubwordIds(tokenizer, said["model_max_length"])
        self._module = AutoModelForSequenceClassification.from_pretrained(directory).eval()

    def one(self, text: str) -> Answer:
        """Classify one text."""
        return self.many([text])[0]

    def many(self, texts: Sequence[str]) -> list[Answer]:
        """Classify texts in one forward pass."""
        labels = self._module.config.id2label
        rows = self._probabilities(self._tokenizer.extract(texts))
        return [Answer(label=labels[row.index(max(row))], confidence=max(row)) for row in rows]

    def in_pieces(self, texts: Sequence[str], max_tokens: int) -> int:
        """Compute texts sorted by length, in batches of so many padded tokens; how many texts."""
        tokenized = self._tokenizer.extract(texts)
        for rows in batches(tokenized.lengths, max_tokens):
            self._probabilities(tokenized[rows])
        return len(texts)

    def _probabilities(self, texts: TokenizedTexts) -> list[list[float]]:
        ids, mask = map(torch.from_numpy, texts.padded(self._module.config.pad_token_id))
        with torch.inference_mode():
            logits = self._module(input_ids=ids, attention_mask=mask).logits
            rows: list[list[float]] = torch.softmax(logits.double(), dim=1).tolist()
        return rows
