"""Worker process. The `subword_ids` step: token ids by the tokenizer.json of a transformer.

A chunk is tokenized once, before anything is computed. So the length of each text is known when
its texts are put into batches, and a batch is padded to its own longest text, if at all.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import numpy as np

from app.errors import ManifestInvalid
from app.models.extras import import_optional

STEP = "subword_ids"
EXTRAS = {"tokenizers": "transformers"}


class TokenizedTexts:
    """Token ids of n texts, each as long as it is; immutable.

    `lengths` are those of the texts in tokens, `truncated` says of each whether it was cut.
    """

    def __init__(self, ids: Sequence[Any], truncated: Sequence[bool]) -> None:
        self._ids = ids
        self.truncated = truncated
        self.lengths = [len(row) for row in ids]

    def __len__(self) -> int:
        return len(self._ids)

    def cost(self, pads: bool) -> int:
        """How many tokens are computed for them as one batch, with padding or without."""
        return len(self) * max(self.lengths, default=0) if pads else sum(self.lengths)

    def __getitem__(self, rows: slice | Sequence[int]) -> "TokenizedTexts":
        """Some of the texts: a slice, or numbers of rows in any order."""
        chosen = range(len(self))[rows] if isinstance(rows, slice) else rows
        ids, truncated = self._ids, self.truncated
        return TokenizedTexts([ids[row] for row in chosen], [truncated[row] for row in chosen])

    def keys(self) -> list[bytes]:
        """One for each text; texts that the model cannot tell apart have the same."""
        return [row.tobytes() for row in self._ids]

    def packed(self, padding: int) -> tuple[Any, list[int]]:
        """The ids of all texts in a row, int64 (tokens), and how many each text has of them."""
        # One each at least, as below.
        rows = [row if len(row) else np.array([padding]) for row in self._ids]
        return np.concatenate(rows), [len(row) for row in rows]

    def padded(self, padding: int) -> tuple[Any, Any]:
        """Ids and attention mask, int64 arrays (n, tokens of the longest text)."""
        # One place at least: attention over nothing is not a number.
        shape = (len(self), max([1, *self.lengths]))
        ids, mask = np.full(shape, padding, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for row, tokens in enumerate(self._ids):
            ids[row, : len(tokens)] = tokens
            mask[row, : max(1, len(tokens))] = 1
        return ids, mask


class SubwordIds:
    """Token ids as a Hugging Face tokenizer gives them, its special tokens included."""

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        if tokenizer.num_special_tokens_to_add(False) >= max_tokens:
            raise ManifestInvalid(STEP, f"max_tokens: {max_tokens} leaves no room for a text")
        # What the file says of both is about training.
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_tokens)
        self._tokenizer = tokenizer

    def extract(self, cleaned: Sequence[str]) -> TokenizedTexts:
        """Ids of n texts; those with more than `max_tokens` are cut, and said to be."""
        with no_panic():
            found = self._tokenizer.encode_batch_fast(list(cleaned))
        ids = [np.asarray(row.ids, dtype=np.int64) for row in found]
        return TokenizedTexts(ids, [bool(row.overflowing) for row in found])

    def is_known(self, token: str) -> bool:
        """True: any token is made of subwords."""
        return True

    @property
    def vocabulary(self) -> None:
        """None: there is no list of tokens."""
        return None


def subword_ids(
    artifact: Any, *, max_tokens: Annotated[int, msgspec.Meta(ge=1, le=65_536)]
) -> SubwordIds:
    """The tokenizer of a parsed tokenizer.json; `max_tokens` counts special tokens too.

    `LibraryMissing` where tokenizers is not installed.
    """
    tokenizers = import_optional("tokenizers", EXTRAS)
    if not isinstance(artifact, dict):
        raise ManifestInvalid(STEP, "artifact: not the tokenizer.json of a fast tokenizer")
    with no_panic():
        tokenizer = tokenizers.Tokenizer.from_str(msgspec.json.encode(artifact).decode())
    return SubwordIds(tokenizer, max_tokens)


@contextmanager
def no_panic() -> Iterator[None]:
    """Make a `ValueError` of a panic in Rust, which is no `Exception`: it would end a thread."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError("the tokenizer cannot do what tokenizer.json says") from error
