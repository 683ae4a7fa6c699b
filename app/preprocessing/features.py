"""Worker process. The feature steps: from cleaned texts to the matrix that a classifier takes.

Each is built once from the artifact that its step names. Texts arrive tokenized: their tokens are
what stands between white space.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, Protocol

import msgspec
import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer

from app.models.base import Document

Analyzer = Literal["word", "char", "char_wb"]

PADDING, UNKNOWN, FIRST_TOKEN = 0, 1, 2

# Together at most some 10 MB for a block of character n-grams.
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
        self._blocks = []
        self._tokens: set[str] | None = None
        frequencies: list[int] = []
        for block in vocabulary.blocks:
            self._blocks.append(_finder(block, first_column=len(frequencies)))
            frequencies.extend(block.terms.values())
            if block.analyzer == "word":
                self._tokens = (self._tokens or set()) | block.terms.keys()
        counts = np.asarray(frequencies, dtype=np.float64)
        self._idf = (np.log((1 + vocabulary.texts) / (1 + counts)) + 1).astype(np.float32)

    def extract(self, cleaned: Sequence[str]) -> csr_matrix:
        """A float32 matrix (n, n-grams)."""
        columns: list[int] = []
        counts: list[int] = []
        ends = [0]
        for text in cleaned:
            for find in self._blocks:
                found = Counter(find(text))
                columns.extend(found)
                counts.extend(found.values())
                ends.append(len(columns))
        indices, stops = np.asarray(columns, np.int32), np.asarray(ends, np.int32)
        weights = self._weights(indices, np.asarray(counts, np.float32))
        _normalize(weights, stops)
        shape = (len(cleaned), len(self._idf))
        return csr_matrix((weights, indices, stops[:: len(self._blocks)]), shape=shape)

    def is_known(self, token: str) -> bool:
        """Whether the token is a term of a word block."""
        return self._tokens is None or token in self._tokens

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


def _finder(block: Block, first_column: int) -> Callable[[str], Iterable[int]]:
    """A function from a text to the columns of its n-grams, one for each time they occur."""
    analyze = analyzer(block.analyzer, block.ngrams).build_analyzer()
    index = {term: first_column + at for at, term in enumerate(block.terms)}

    def find(text: str) -> tuple[int, ...]:
        return tuple(index[term] for term in analyze(text) if term in index)

    if block.analyzer != "char_wb":
        return find
    # Such n-grams never cross a token, and a few thousand tokens make up most of any text.
    remembered = lru_cache(MAX_REMEMBERED_TOKENS)(find)

    def find_by_token(text: str) -> Iterator[int]:
        for token in text.split():
            yield from find(token) if len(token) > MAX_REMEMBERED_CHARS else remembered(token)

    return find_by_token


def _normalize(weights: Any, ends: Any) -> None:
    """Divide each stretch `ends[i]:ends[i+1]` by its Euclidean length, in place."""
    stretches = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
    squares = np.bincount(stretches, weights=weights * weights, minlength=len(ends) - 1)
    weights /= np.sqrt(squares)[stretches]
