"""Worker process. golden.jsonl: texts whose answers are known, asked before a version may serve.

One JSON object a line: `{"text": ..., "label": ..., "probabilities": {...}, "tolerance": ...}`. A
host where a version answers otherwise than where it was made (another library, another processor, a
wrong artifact) does not become ready.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any

import msgspec

from app.errors import GoldenMismatch
from app.models.base import Document

GOLDEN_FILE = "golden.jsonl"
MAX_GOLDEN_BYTES = 1 << 20
DEFAULT_TOLERANCE = 1e-3

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Golden(Document, frozen=True, kw_only=True):
    """A text; `probabilities`, which may be left out, differ by at most `tolerance` each."""

    text: Annotated[str, msgspec.Meta(min_length=1)]
    label: str
    probabilities: dict[str, Share] = msgspec.field(default_factory=dict)
    tolerance: Annotated[float, msgspec.Meta(gt=0, le=1)] = DEFAULT_TOLERANCE


def encode(rows: Iterable[Golden]) -> bytes:
    """What `decode` reads."""
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def decode(content: bytes, ref: str, labels: Sequence[str]) -> list[Golden]:
    """The golden set in `content`; `GoldenMismatch` names the first line that is wrong."""
    found = []
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip():
            found.append(_decode_line(line, f"line {number} of {GOLDEN_FILE}", ref, labels))
    return found


def check(
    golden: Sequence[Golden], ref: str, labels: Sequence[str], predict: Callable[[list[str]], Any]
) -> None:
    """Raise `GoldenMismatch` where `predict`, texts to (n, labels) probabilities, differs."""
    answers = predict([row.text for row in golden]).tolist() if golden else []
    for number, (row, answer) in enumerate(zip(golden, answers, strict=True), 1):
        found = dict(zip(labels, answer, strict=True))
        if not all(map(math.isfinite, answer)):
            raise GoldenMismatch(ref, f"golden text {number} has a probability that is not finite")
        label = max(found, key=lambda name: found[name])
        if label != row.label:
            said = f"golden text {number} is {label!r}, expected {row.label!r}"
            raise GoldenMismatch(ref, said)
        for name, expected in row.probabilities.items():
            if abs(found[name] - expected) > row.tolerance:
                said = f"golden text {number} is {name!r} with {found[name]:.6f}"
                raise GoldenMismatch(ref, f"{said}, expected {expected:.6f} +- {row.tolerance:g}")


def _decode_line(line: bytes, place: str, ref: str, labels: Sequence[str]) -> Golden:
    try:
        row = msgspec.json.decode(line, type=Golden)
    except ValueError as error:
        raise GoldenMismatch(ref, f"{place}: {error}") from error
    unknown = {row.label, *row.probabilities} - set(labels)
    if unknown:
        raise GoldenMismatch(ref, f"{place}: {min(unknown)!r} is not a label of the model")
    return row
