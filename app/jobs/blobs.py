"""Shared. Texts and results as they lie in Redis: MessagePack, compressed.

Texts come in blocks of `BLOCK_TEXTS`, so that the block of a text follows from its number; results
come as chunks were computed.
"""

import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from app.contract import Failure

BLOCK_TEXTS = 128
# More would cost more time than it saves memory.
LEVEL = 1

Ids = list[str | None]


class Results(msgspec.Struct, frozen=True, array_like=True):
    """What became of the texts of one chunk, in their order.

    `labels` holds a 16-bit index into the labels of the job for each text, `confidences` a 64-bit
    float, both little-endian. `failures` has the texts without a prediction, by their place.
    `scores` may hold a 64-bit float for each label of each text; `truncated` has the places of the
    texts that were cut off.
    """

    labels: bytes
    confidences: bytes
    failures: dict[int, Failure] = {}
    scores: bytes = b""
    truncated: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.labels) // 2

    def rows(self) -> Iterator[tuple[int, float, Failure | None]]:
        """(index of the label, probability, failure) for each text."""
        labels, confidences = _array("H", self.labels), _array("d", self.confidences)
        for at, (label, confidence) in enumerate(zip(labels, confidences, strict=True)):
            yield label, confidence, self.failures.get(at)

    def scores_of(self, place: int) -> list[float] | None:
        """Probabilities of one text, in the order of the labels; None where they are not kept."""
        if not self.scores:
            return None
        labels = len(self.scores) // 8 // len(self)
        return list(struct.unpack_from(f"<{labels}d", self.scores, place * labels * 8))


def failed(failure: Failure) -> bytes:
    """The results of a chunk of one text that has none."""
    return encode_results([0], [0.0], {0: failure})


def encode_results(
    labels: Sequence[int],
    confidences: Sequence[float],
    failures: dict[int, Failure],
    scores: Sequence[float] = (),
    truncated: Iterable[int] = (),
) -> bytes:
    """Label and probability for each text, ignored where there is a failure.

    `scores`, if any, are those of all labels, text by text; `truncated` are places of texts.
    """
    packed = _bytes("H", labels), _bytes("d", confidences), failures, _bytes("d", scores)
    results = Results(*packed, frozenset(truncated))
    return zlib.compress(msgspec.msgpack.encode(results), LEVEL)


def decode_results(blob: bytes) -> Results:
    """What `encode_results` was given."""
    return msgspec.msgpack.decode(zlib.decompress(blob), type=Results)


def encode_texts(texts: Sequence[str]) -> bytes:
    """A block of texts, without lone surrogates: those raise `UnicodeEncodeError`."""
    return zlib.compress(msgspec.msgpack.encode(texts), LEVEL)


def decode_texts(blob: bytes) -> list[str]:
    """What `encode_texts` was given."""
    return msgspec.msgpack.decode(zlib.decompress(blob), type=list[str])


def encode_ids(ids: Ids) -> bytes:
    """The custom ids of a block; empty where no text has one."""
    if not any(one is not None for one in ids):
        return b""
    return zlib.compress(msgspec.msgpack.encode(ids), LEVEL)


def decode_ids(blob: bytes | None) -> Ids:
    """What `encode_ids` was given; as many None as a block may have texts where it was nothing."""
    if blob is None:
        return [None] * BLOCK_TEXTS
    return msgspec.msgpack.decode(zlib.decompress(blob), type=Ids)


def _bytes(kind: Literal["H", "d"], numbers: Iterable[float]) -> bytes:
    return bytes(_ordered(array(kind, numbers)))


def _array(kind: Literal["H", "d"], content: bytes) -> Any:
    return _ordered(array(kind, content))


def _ordered(packed: Any) -> Any:
    if sys.byteorder == "big":
        packed.byteswap()
    return packed
