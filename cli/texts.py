"""CLI. Texts from the command line, from files, and made-up ones that differ from each other."""

import csv
import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

# Enough ordinary words that made-up texts have the lengths and the variety of short reviews.
WORDS = (
    "the a this that it I we you they my our was is are were be been had have not never always"
    " really very quite too so just still even only again and but or because although when while"
    " movie film book phone service food place staff room price plot actor story battery screen"
    " music scene sound support delivery package update game app team day night weekend coffee"
    " great good nice lovely wonderful amazing excellent brilliant fine decent average okay strange"
    " bad poor terrible awful horrible boring disappointing slow broken rude dirty cheap expensive"
    " love loved like liked enjoy enjoyed hate hated regret recommend bought watched tried waited"
    " expected worked failed crashed arrived ended started felt looked tasted with without from for"
    " about after before under over between every some few most many never first last second"
)
MIN_WORDS, MAX_WORDS = 4, 40


def read_texts(path: Path, column: str | None) -> list[str]:
    """The lines of a text file without the blank ones, or a column of a CSV or TSV file.

    Raises `click.UsageError` where the file cannot be read so.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            texts = list(_column(file, path, column)) if _is_csv(path, column) else file.readlines()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise click.UsageError(f"{path}: {error}") from error
    return [text.strip("\r\n") for text in texts if text.strip()]


def made_up_texts(seed: int = 0) -> Iterator[str]:
    """An endless row of texts of 4 to 40 words, the same for the same seed."""
    known = WORDS.split()
    random_ = random.Random(seed)  # noqa: S311 - words, not secrets
    for number in itertools.count(1):
        words = random_.choices(known, k=random_.randint(MIN_WORDS, MAX_WORDS))
        yield f"{' '.join(words)} {number}"


def slices(texts: Sequence[str], size: int) -> Iterator[list[str]]:
    """`texts` in lists of at most `size`, in order."""
    for start in range(0, len(texts), size):
        yield list(texts[start : start + size])


def _is_csv(path: Path, column: str | None) -> bool:
    return column is not None or path.suffix in (".csv", ".tsv")


def _column(file: Iterator[str], path: Path, column: str | None) -> Iterator[str]:
    rows = csv.DictReader(file, dialect="excel-tab" if path.suffix == ".tsv" else "excel")
    names = list(rows.fieldnames or [])
    if column is None:
        raise click.UsageError(f"{path}: choose --column from {', '.join(names) or 'nothing'}")
    if column not in names:
        raise click.UsageError(f"{path} has no column {column!r}; it has {', '.join(names)}")
    for row in rows:
        yield row[column] or ""
