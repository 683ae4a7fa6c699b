"""CLI. Writes rows as CSV, TSV or JSON lines, one by one; a file appears when it is whole."""

import csv
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from cli.records import FORMATS

Write = Callable[[Mapping[str, Any]], None]


def format_of(path: Path) -> str:
    """csv, tsv or jsonl, by the name; `click.UsageError` for any other."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise click.UsageError(f"{path}: the name must end in {', '.join(FORMATS)}")
    return FORMATS[suffix]


def check_output(path: Path) -> None:
    """`click.UsageError` where no rows can be written to `path`: its name, or its directory."""
    format_of(path)
    try:
        # What only looks at permissions knows nothing of file systems that are read-only.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise click.UsageError(f"{path}: {path.parent}: {error.strerror}") from error


@contextmanager
def written(path: Path) -> Iterator[Write]:
    """A function that writes a row to `path`, which is there when all is written.

    The first row names the columns of a CSV or TSV. After an error there is `<path>.part`.
    """
    format_ = format_of(path)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield _write_json(file) if format_ == "jsonl" else _write_table(file, format_)
        os.replace(part, path)
    except OSError as error:
        raise click.ClickException(f"{part}: {error.strerror}") from error


def _write_json(file: TextIO) -> Write:
    def write(row: Mapping[str, Any]) -> None:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")

    return write


def _write_table(file: TextIO, format_: str) -> Write:
    dialect = "excel-tab" if format_ == "tsv" else "excel"
    writer = csv.writer(file, dialect=dialect, lineterminator="\n")
    names: list[str] = []

    def write(row: Mapping[str, Any]) -> None:
        if not names:
            names.extend(row)
            writer.writerow(names)
        if unknown := [name for name in row if name not in names]:
            raise click.UsageError(f"{unknown[0]!r} is not in the first row; write JSON lines")
        writer.writerow([_cell(row.get(name)) for name in names])

    return write


def _cell(value: Any) -> Any:
    if isinstance(value, dict) and {"code", "message"} == set(value):
        return f"{value['code']}: {value['message']}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
