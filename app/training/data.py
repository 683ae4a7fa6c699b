"""Worker process. Reads labelled texts from CSV, TSV or JSONL.

Errors name the file, the line and the column, never what stands there.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from app.errors import TrainingDataInvalid

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_SUFFIXES = (".jsonl", ".ndjson")
MAX_LABELS = 1000
# Python's own limit is below that of a text; without one, a quote that is never closed would take
# the rest of the file for one field.
MAX_FIELD_CHARS = 1 << 24
REPETITIVE = "has the same key twice"

Row = tuple[int, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Texts and their labels, in step."""

    texts: list[str]
    labels: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def names(self) -> list[str]:
        """The different labels, sorted: the order that a model's probabilities have."""
        return sorted(set(self.labels))


@dataclass(frozen=True, slots=True)
class Dataset:
    """A file of labelled texts; `sha256` is that of its bytes."""

    name: str
    sha256: str
    rows: Labelled


def read(path: Path, text_column: str = "text", label_column: str = "label") -> Dataset:
    """Read a whole file, its format told by its suffix; `TrainingDataInvalid` says where it fails.

    Every row needs a text that is not blank and a label, a string or a whole number.
    """
    try:
        content = path.read_bytes()
        decoded = content.decode("utf-8-sig")
    except OSError as error:
        raise TrainingDataInvalid(path.name, error.strerror or "cannot be read") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TrainingDataInvalid(f"{path.name} line {line}", "is not UTF-8") from error
    rows = _rows(path, decoded, (text_column, label_column))
    labelled = _labelled(path.name, rows, text_column, label_column)
    return Dataset(path.name, hashlib.sha256(content).hexdigest(), labelled)


def is_repetitive(line: str, row: Mapping[str, Any]) -> bool:
    """Whether an object in this line of JSON has a key twice; `row` is what was decoded of it.

    Not seen where a text has a colon that is spelled `\\u003a`.
    """
    # Every key has a colon, and those of texts are on both sides.
    colons = line.count(":")
    return colons > len(row) and colons > msgspec.json.encode(row).count(b":")


def _rows(path: Path, decoded: str, wanted: tuple[str, ...]) -> Iterator[Row]:
    suffix = path.suffix.lower()
    if suffix in DELIMITERS:
        return _delimited(path.name, decoded, DELIMITERS[suffix], wanted)
    if suffix in JSON_SUFFIXES:
        return _json_lines(path.name, decoded)
    known = ", ".join([*DELIMITERS, *JSON_SUFFIXES])
    raise TrainingDataInvalid(path.name, f"unknown suffix {suffix!r}; expected one of {known}")


def _delimited(name: str, decoded: str, delimiter: str, wanted: tuple[str, ...]) -> Iterator[Row]:
    csv.field_size_limit(MAX_FIELD_CHARS)
    reader = csv.DictReader(io.StringIO(decoded, newline=""), delimiter=delimiter, strict=True)
    try:
        names = list(reader.fieldnames or ())
        for column in wanted:
            # DictReader would take the last one.
            if names.count(column) > 1:
                raise TrainingDataInvalid(f"{name} line 1", f"column {column!r} is there twice")
        for row in reader:
            # DictReader puts what is too much under None, and gives None where a field is missing.
            if None in row or None in row.values():
                raise TrainingDataInvalid(
                    f"{name} line {reader.reader.line_num}", f"does not have {len(names)} columns"
                )
            yield reader.reader.line_num, row
    except csv.Error as error:
        raise TrainingDataInvalid(f"{name} line {reader.reader.line_num}", str(error)) from error


def _json_lines(name: str, decoded: str) -> Iterator[Row]:
    # Not splitlines(): a text may contain U+2028, which JSON does not escape.
    for number, line in enumerate(decoded.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise TrainingDataInvalid(f"{name} line {number}", str(error)) from error
        if is_repetitive(line, row):
            raise TrainingDataInvalid(f"{name} line {number}", REPETITIVE)
        yield number, row


def _labelled(name: str, rows: Iterator[Row], text_column: str, label_column: str) -> Labelled:
    found = Labelled([], [])
    for line, row in rows:
        for column in (text_column, label_column):
            if column not in row:
                there = ", ".join(row) or "none"
                raise TrainingDataInvalid(
                    f"{name} line {line}", f"no column {column!r}; there are: {there}"
                )
        found.texts.append(_text(row[text_column], f"{name} line {line}, column {text_column!r}"))
        found.labels.append(
            _label(row[label_column], f"{name} line {line}, column {label_column!r}")
        )
    _check_labels(name, found)
    return found


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise TrainingDataInvalid(where, f"expected a text, got {type(value).__name__}")
    if not value.strip():
        raise TrainingDataInvalid(where, "the text is blank")
    return value


def _label(value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TrainingDataInvalid(
            where, f"expected a string or a whole number, got {type(value).__name__}"
        )
    label = str(value).strip()
    if not label:
        raise TrainingDataInvalid(where, "the label is blank")
    return label


def _check_labels(name: str, found: Labelled) -> None:
    labels = found.names()
    if len(labels) < 2:
        raise TrainingDataInvalid(name, f"needs at least 2 different labels, has {len(labels)}")
    if len(labels) > MAX_LABELS:
        raise TrainingDataInvalid(
            name, f"{len(labels)} different labels, at most {MAX_LABELS}; is the column right?"
        )
