"""CLI. Texts from the command line, from files, and made-up ones that differ from each other."""

import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from cli.records import Source

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
    """The texts of a file without the blank ones: its lines, or a column of it.

    Raises `click.UsageError` where the file cannot be read so.
    """
    records = Source(path, column).records()
    return [record.text.strip("\r\n") for record in records if not record.is_blank]


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
