"""Shared. Prediction ids: each says by itself, signed, what was predicted, and when.

So nothing is stored for the many predictions that nobody ever gives feedback on, and every API
process that has the secret understands the ids of all. An id is opaque to callers, not secret: it
holds the ref, the label and the probabilities that the answer shows or could show.
"""

import hashlib
import hmac
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import NamedTuple

FORMAT = 1
MAC_BYTES = 16
MAX_CHARS = 1024
# Probabilities are kept in 16 bits: an error of at most 8e-6.
SCALE = (1 << 16) - 1
# Of a version with more labels only the confidence: each makes an id 3 characters longer.
MAX_SHARES = 64
MARK_CHARS = 8
_HEAD = "<BIQHB4s"
_HEAD_BYTES = struct.calcsize(_HEAD)


class Predicted(NamedTuple):
    """What an id says.

    `mark` is the begin of the version's digest, `at` when it was predicted in whole Redis server
    seconds, `number` (64 bits) what tells it from all others, `label` the number of the label that
    was given. `shares` are the probabilities of all labels in `SCALE` parts, or that of `label`
    alone.
    """

    ref: str
    mark: str
    at: int
    number: int
    label: int
    shares: tuple[int, ...]

    @property
    def confidence(self) -> float:
        """The probability of the label that was given."""
        return (self.shares[self.label] if len(self.shares) > 1 else self.shares[0]) / SCALE

    @property
    def probabilities(self) -> list[float] | None:
        """Those of all labels; None where only the confidence is known."""
        return None if len(self.shares) == 1 else [share / SCALE for share in self.shares]


class Signer:
    """Makes and reads the ids under one secret."""

    def __init__(self, secret: bytes) -> None:
        # A key of BLAKE2 has 64 bytes at most.
        self._key = hashlib.blake2b(secret, person=b"prediction-ids").digest()

    def make(self, said: Predicted) -> str:
        """The id that says this: 72 characters for a short ref and three labels."""
        ref, mark, at, number, label, shares = said
        count, begin = len(shares), bytes.fromhex(mark)
        head = struct.pack(f"{_HEAD}{count}H", FORMAT, at, number, label, count, begin, *shares)
        body = head + ref.encode()
        return urlsafe_b64encode(body + self._mac(body)).rstrip(b"=").decode()

    def read(self, text: str) -> Predicted | None:
        """What an id says; None where it is none, or made with another secret."""
        try:
            raw = urlsafe_b64decode(text[:MAX_CHARS].encode("ascii") + b"==")
        except ValueError:
            return None
        body, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
        if len(body) < _HEAD_BYTES or not hmac.compare_digest(mac, self._mac(body)):
            return None
        kind, at, number, label, count, begin = struct.unpack_from(_HEAD, body)
        if kind != FORMAT:
            return None
        shares = struct.unpack_from(f"<{count}H", body, _HEAD_BYTES)
        ref = body[_HEAD_BYTES + 2 * count :].decode()
        return Predicted(ref, begin.hex(), at, number, label, shares)

    def _mac(self, body: bytes) -> bytes:
        return hashlib.blake2b(body, digest_size=MAC_BYTES, key=self._key).digest()


def shares_of(probabilities: Sequence[float], label: int) -> tuple[int, ...]:
    """What an id keeps of the probabilities of all labels, of which `label` was given."""
    if len(probabilities) > MAX_SHARES:
        probabilities = [probabilities[label]]
    return tuple([round(share * SCALE) for share in probabilities])


def mark_of(digest: str) -> str:
    """What an id keeps of a version's digest: another model under the same ref is another model."""
    return digest[:MARK_CHARS]


def number_of(job_id: str, index: int) -> int:
    """The number of one text of a job: the same however often its result is read."""
    digest = hashlib.blake2b(f"{job_id}:{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
