"""CLI. Reads files of texts row by row: plain lines, CSV, TSV or JSON lines; never a whole file."""

import csv
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import click
import msgspec

from app.training.data import MAX_FIELD_CHARS, REPETITIVE, is_repetitive

TEXT = "text"
STDIN = Path("-")
FORMATS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}

column_option = click.option(
    "--column", help="The column of a CSV or TSV, or the key of JSON lines, that has the texts."
)


@dataclass(frozen=True)
class Record:
    """One row of a file; `columns` is all of it, the text included, in its order.

    `line` is the number of its first line, from 1 on.
    """

    text: str
    columns: dict[str, Any]
    line: int

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing to classify."""
        return not self.text.strip()


@dataclass(frozen=True)
class Source:
    """A file, and where its texts are. `path` may be `STDIN`, which can be read once."""

    path: Path
    column: str | None = None

    @property
    def format(self) -> str:
        """csv, tsv, jsonl or text, by the name; a column in anything else makes it a CSV."""
        return FORMATS.get(self.path.suffix.lower(), "csv" if self.column else "text")

    @property
    def is_repeatable(self) -> bool:
        """Whether it can be read again, as no pipe can; what is absent fails when it is read."""
        return self.path != STDIN and (self.path.is_file() or not self.path.exists())

    def records(self) -> Iterator[Record]:
        """The rows in their order, blank texts too, but not blank lines.

        Raises `click.UsageError` where the file cannot be read so, with the number of the line.
        """
        csv.field_size_limit(MAX_FIELD_CHARS)
        try:
            with _opened(self.path) as file:
                yield from _READERS[self.format](file, self)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise self.wrong(str(error)) from error

    def wrong(self, what: str) -> click.UsageError:
        """The error that names the file."""
        return click.UsageError(f"{self.path}: {what}")


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    if path == STDIN:
        if sys.stdin is None:
            raise click.UsageError("standard input is closed")
        yield io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="")
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield file


def _lines(file: TextIO, source: Source) -> Iterator[Record]:
    for number, line in enumerate(file, 1):
        if line.strip():
            text = line.rstrip("\r\n")
            yield Record(text, {TEXT: text}, number)


def _csv(file: TextIO, source: Source) -> Iterator[Record]:
    return _table(csv.reader(file), source)


def _tsv(file: TextIO, source: Source) -> Iterator[Record]:
    return _table(csv.reader(file, dialect="excel-tab"), source)


def _table(rows: Any, source: Source) -> Iterator[Record]:
    names: list[str] = next(rows, [])
    if source.column is None:
        raise source.wrong(f"choose --column from {', '.join(names) or 'nothing'}")
    if source.column not in names:
        raise source.wrong(f"no column {source.column!r}; it has {', '.join(names)}")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise source.wrong(f"two columns have the same name, {twice!r}")
    read = rows.line_num
    for row in rows:
        # A cell may have several lines.
        line, read = read + 1, rows.line_num
        if len(row) > len(names):
            raise source.wrong(f"line {line} has more columns than the first line")
        if row:
            columns = dict(zip(names, row + [""] * (len(names) - len(row)), strict=True))
            yield Record(columns[source.column], columns, line)


def _json_lines(file: TextIO, source: Source) -> Iterator[Record]:
    key = source.column or TEXT
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            columns = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            raise source.wrong(f"line {number} is not JSON: {error}") from error
        if not isinstance(columns, dict) or not isinstance(columns.get(key), str):
            raise source.wrong(f"line {number} has no text under {key!r}")
        if is_repetitive(line, columns):
            raise source.wrong(f"line {number} {REPETITIVE}")
        yield Record(columns[key], columns, number)


_READERS: dict[str, Callable[[TextIO, Source], Iterator[Record]]] = {
    "text": _lines,
    "csv": _csv,
    "tsv": _tsv,
    "jsonl": _json_lines,
}
