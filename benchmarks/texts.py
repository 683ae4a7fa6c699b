"""Harness. Real texts, a different one for every request, numbered from 0 without an end.

`Texts.at(number)` and `text_at` in load.lua must agree: the first pass sends the texts as they are,
every later pass sends them with a counter word, so that no text ever comes back.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.paths import FALLBACK_TEXTS, REAL_TEXTS, STATE

COUNTER_WORD = "again"
_NUMBERED = re.compile(rf" {COUNTER_WORD}\d+$")


class Texts:
    """Distinct texts in a fixed order, extended by counter words."""

    def __init__(self, texts: list[str]) -> None:
        # A text that already ends like a numbered one could come twice.
        self._texts = list(dict.fromkeys(text for text in texts if not _NUMBERED.search(text)))

    def __len__(self) -> int:
        return len(self._texts)

    def at(self, number: int) -> str:
        """The text with this number; different for different numbers."""
        passes, index = divmod(number, len(self._texts))
        text = self._texts[index]
        return f"{text} {COUNTER_WORD}{passes}" if passes else text

    def write(self, path: Path) -> Path:
        """A line per text, escaped as in JSON and without quotes: what load.lua reads."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(text)[1:-1] for text in self._texts]
        path.write_text("\n".join(lines) + "\n", encoding="ascii")
        return path


class Cursor:
    """Hands out numbers of texts, each once; one for each start of a contender."""

    def __init__(self) -> None:
        self.next = 0

    def take(self, number: int) -> int:
        """The first of `number` fresh ones."""
        first = self.next
        self.next += number
        return first


def load_texts() -> tuple[Texts, str]:
    """The texts and the name of the file that they come from."""
    for path in (REAL_TEXTS, FALLBACK_TEXTS):
        if path.exists():
            return Texts(list(_read(path))), path.name
    raise FileNotFoundError("no texts: `make samples` fetches them")


def text_file(texts: Texts) -> Path:
    """Where the texts lie for wrk."""
    return texts.write(STATE / "texts.txt")


def _read(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)["text"]
