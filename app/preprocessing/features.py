"""Worker process. The feature steps: from cleaned texts to the matrix that a classifier takes.

Each is built once from the artifact that its step names. Texts arrive tokenized: their tokens are
what stands between white space.
"""

from array import array
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import chain, islice
from typing import Annotated, Any, Literal, Protocol

import msgspec
import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer

from app.models.base import Document

Analyzer = Literal["word", "char", "char_wb"]
# From a text to the columns of its n-grams (int32), one for each time they occur. As bytes: numpy
# takes as long to make or to join an array as for a hundred of its numbers.
Find = Callable[[str], bytes]

PADDING, UNKNOWN, FIRST_TOKEN = 0, 1, 2

# Together at most some 10 MB for a block of character n-grams.
MAX_LEARNED_TOKENS = 20_000
MAX_REMEMBERED_TOKENS = 20_000
MAX_REMEMBERED_CHARS = 30


class Extractor(Protocol):
    """A feature step, ready for use by several threads at once."""

    def extract(self, cleaned: Sequence[str]) -> Any:
        """Features of n texts: a matrix with n rows."""
        ...

    def is_known(self, token: str) -> bool:
        """Whether the model learned this token; True where it has no vocabulary of tokens."""
        ...

    @property
    def vocabulary(self) -> Container[str] | None:
        """The tokens that the model learned; None where it has no vocabulary of tokens."""
        ...


class Block(Document, frozen=True, kw_only=True):
    """N-grams that are weighted and normalised together, in the order of their columns.

    `terms` maps an n-gram to the number of training texts that contain it. `char_wb` are character
    n-grams inside words, padded with one space at the ends, as scikit-learn defines them.
    """

    analyzer: Analyzer
    ngrams: tuple[int, int]
    terms: dict[str, int]


class Vocabulary(Document, frozen=True, kw_only=True):
    """The artifact of a `tfidf` step: n-grams and their document frequencies.

    `texts` is the number of training texts; `sublinear_tf` replaces a count c by 1 + ln(c).
    """

    texts: int
    sublinear_tf: bool
    blocks: Annotated[list[Block], msgspec.Meta(min_length=1)]


def analyzer(kind: Analyzer, ngrams: tuple[int, int]) -> CountVectorizer:
    """The scikit-learn vectorizer that counts n-grams of tokenized text as a block does."""
    # scikit-learn warns of a token pattern that it will not use.
    pattern = {"token_pattern": r"\S+"} if kind == "word" else {}
    return CountVectorizer(analyzer=kind, ngram_range=ngrams, lowercase=False, **pattern)


class Tfidf:
    """TF-IDF over word and character n-grams, each block of length one (L2).

    Gives what scikit-learn's TfidfVectorizer gives, block beside block. It is written out because
    TfidfVectorizer takes several times as long for one text, and because a vocabulary in JSON is
    read in milliseconds where the same dict in a skops file takes a second.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._sublinear = vocabulary.sublinear_tf
        words = [block.terms for block in vocabulary.blocks if block.analyzer == "word"]
        self._tokens = set().union(*words) if words else None
        learned = sorted(term for term in self._tokens or () if " " not in term)
        self._blocks: list[Find] = []
        frequencies: list[int] = []
        for block in vocabulary.blocks:
            self._blocks.append(_finder(block, len(frequencies), learned))
            frequencies.extend(block.terms.values())
        counts = np.asarray(frequencies, dtype=np.float64)
        self._idf = (np.log((1 + vocabulary.texts) / (1 + counts)) + 1).astype(np.float32)

    def extract(self, cleaned: Sequence[str]) -> csr_matrix:
        """A float32 matrix (n, n-grams)."""
        parts = [find(text) for text in cleaned for find in self._blocks]
        # Not `bytes`: what is counted is sorted in place.
        columns = np.frombuffer(bytearray().join(parts), np.int32)
        ends = np.cumsum([0, *map(len, parts)]) // columns.itemsize
        ones, shape = np.ones(len(columns), np.float32), (len(parts), len(self._idf))
        counted = csr_matrix((ones, columns, ends), shape=shape)
        counted.sum_duplicates()
        weights = self._weights(counted.indices, counted.data)
        _normalize(weights, counted.indptr)
        row_ends = counted.indptr[:: len(self._blocks)]
        shape = (len(cleaned), len(self._idf))
        return csr_matrix((weights, counted.indices, row_ends), shape=shape)

    def is_known(self, token: str) -> bool:
        """Whether the token is a term of a word block."""
        return self._tokens is None or token in self._tokens

    @property
    def vocabulary(self) -> Container[str] | None:
        """The terms of the word blocks, which hold every token that was learned."""
        return self._tokens

    def _weights(self, columns: Any, counts: Any) -> Any:
        if self._sublinear:
            counts = np.log(counts) + 1
        return counts * self._idf[columns]


class Transformer:
    """A fitted scikit-learn transformer (a vectorizer, a FeatureUnion) as a user brings it."""

    def __init__(self, fitted: Any) -> None:
        self._fitted = fitted
        words = getattr(fitted, "analyzer", None) == "word"
        self._tokens = getattr(fitted, "vocabulary_", None) if words else None

    def extract(self, cleaned: Sequence[str]) -> Any:
        """The matrix that the transformer gives."""
        return self._fitted.transform(cleaned)

    def is_known(self, token: str) -> bool:
        """Whether the token is in the transformer's own word vocabulary."""
        return self._tokens is None or token in self._tokens

    @property
    def vocabulary(self) -> Container[str] | None:
        """The transformer's own word vocabulary."""
        return self._tokens


class TokenIds:
    """Token ids of a fixed length: 0 padding, 1 unknown, from 2 on the vocabulary in its order."""

    def __init__(self, tokens: Iterable[str], max_tokens: int) -> None:
        self._ids = {token: at for at, token in enumerate(tokens, FIRST_TOKEN)}
        self._max_tokens = max_tokens

    def extract(self, cleaned: Sequence[str]) -> Any:
        """An int64 array (n, max_tokens); longer texts are cut, an empty one has only padding."""
        ids = np.full((len(cleaned), self._max_tokens), PADDING, dtype=np.int64)
        for row, text in zip(ids, cleaned, strict=True):
            found = [self._ids.get(token, UNKNOWN) for token in text.split()[: self._max_tokens]]
            row[: len(found)] = found
        return ids

    def is_known(self, token: str) -> bool:
        """Whether the token has an id of its own."""
        return token in self._ids

    @property
    def vocabulary(self) -> Container[str]:
        """The tokens that have ids of their own."""
        return self._ids


def tfidf(artifact: Any) -> Extractor:
    """TF-IDF from a parsed `Vocabulary`, or from a fitted scikit-learn transformer."""
    if hasattr(artifact, "transform"):
        return Transformer(artifact)
    return Tfidf(msgspec.convert(artifact, Vocabulary))


def token_ids(
    artifact: Any, *, max_tokens: Annotated[int, msgspec.Meta(ge=1, le=65_536)]
) -> Extractor:
    """Token ids from a list of tokens: the vocabulary, most frequent first."""
    return TokenIds(msgspec.convert(artifact, list[str]), max_tokens)


def _finder(block: Block, first_column: int, tokens: Iterable[str]) -> Find:
    """The n-grams of one block, from `first_column` on; `tokens` are those of many texts."""
    index = {term: first_column + at for at, term in enumerate(block.terms)}
    if block.analyzer == "char":
        analyze = analyzer(block.analyzer, block.ngrams).build_analyzer()
    else:
        # As scikit-learn's analyzers, in a fraction of their time.
        ngrams_of = _word_ngrams if block.analyzer == "word" else _char_wb_ngrams
        analyze = partial(ngrams_of, *block.ngrams)

    def find(text: str) -> bytes:
        return array("i", [at for at in map(index.get, analyze(text)) if at is not None]).tobytes()

    return _TokenColumns(find, tokens).find if block.analyzer == "char_wb" else find


def _word_ngrams(shortest: int, longest: int, text: str) -> Iterator[str]:
    tokens = text.split()
    # No generator: to step through one takes as long as the look-up of what it gives.
    return chain.from_iterable(
        tokens
        if length == 1
        else map(" ".join, zip(*(tokens[at:] for at in range(length)), strict=False))
        for length in range(shortest, longest + 1)
    )


def _char_wb_ngrams(shortest: int, longest: int, text: str) -> Iterator[str]:
    for token in text.split():
        padded = f" {token} "
        # One that is longer than the padded token is that token, once.
        for length in range(shortest, max(shortest, min(longest, len(padded))) + 1):
            for at in range(max(1, len(padded) - length + 1)):
                yield padded[at : at + length]


class _TokenColumns(dict[str, bytes]):
    """The columns of the n-grams inside a token, which never cross it.

    A few thousand tokens make up most of any text. Those that the model learned are looked up at
    once: the first texts after a load would wait twice as long for them.
    """

    def __init__(self, find: Find, tokens: Iterable[str]) -> None:
        super().__init__((token, find(token)) for token in islice(tokens, MAX_LEARNED_TOKENS))
        self._find = find
        self._remembered = lru_cache(MAX_REMEMBERED_TOKENS)(find)

    def __missing__(self, token: str) -> bytes:
        return self._find(token) if len(token) > MAX_REMEMBERED_CHARS else self._remembered(token)

    def find(self, text: str) -> bytes:
        """Those of a whole text."""
        return b"".join(map(self.__getitem__, text.split()))


def _normalize(weights: Any, ends: Any) -> None:
    """Divide each stretch `ends[i]:ends[i+1]` by its Euclidean length, in place."""
    stretches = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
    squares = np.bincount(stretches, weights=weights * weights, minlength=len(ends) - 1)
    weights /= np.sqrt(squares)[stretches]
