"""Harness. A stream of short and long texts, and callers who send the next one when answered.

80 % short, 20 % long, by BERT's tokenizer about 63 tokens in the mean, cut at 256: what a batch
costs depends on what is put together in it.
"""

import asyncio
import random
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.open_loop import TIMEOUT_S, ask
from benchmarks.texts import Texts
from cli.benchmark import percentile

MIX = 5
SHORT_WORDS = (4, 22)
LONG_WORDS = (150, 210)
SEED = 11


class MixedTexts:
    """Texts of real words, numbered from 0 without an end; of every five, one is long."""

    def __init__(self, texts: Texts) -> None:
        self._words = " ".join(texts.at(number) for number in range(len(texts))).split()

    def is_long(self, number: int) -> bool:
        """Whether the text with this number is a long one."""
        return random.Random(f"{SEED} {number // MIX}").randrange(MIX) == number % MIX

    def at(self, number: int) -> str:
        """The text with this number; different for different numbers."""
        chosen = random.Random(f"{SEED} text {number}")
        words = chosen.randint(*(LONG_WORDS if self.is_long(number) else SHORT_WORDS))
        start = chosen.randrange(len(self._words) - words)
        return f"{' '.join(self._words[start : start + words])} {number}"

    def write(self, path: Path, count: int) -> Path:
        """The first `count` in a file, as `benchmarks.texts.Texts.write` has it."""
        return Texts([self.at(number) for number in range(count)]).write(path)


class Answered(NamedTuple):
    """One answer; `status` 0 where none came."""

    number: int
    status: int
    took_s: float


def closed_loop(
    port: int, texts: MixedTexts, first: int, connections: int, seconds: float
) -> dict[str, Any]:
    """What was measured with so many callers; `texts_used` is how many numbers were taken."""
    numbers = count(first)
    began = time.monotonic()
    answers = asyncio.run(_all(port, texts, numbers, connections, began + seconds))
    lasted_s = time.monotonic() - began
    good = [answer for answer in answers if answer.status == 200]
    short = sorted(a.took_s for a in good if not texts.is_long(a.number))
    long = sorted(a.took_s for a in good if texts.is_long(a.number))
    return {
        "texts_per_s": len(good) / lasted_s,
        "short": _percentiles(short),
        "long": _percentiles(long),
        "failed": len(answers) - len(good),
        "texts_used": next(numbers) - first,
    }


def _percentiles(ordered: list[float]) -> dict[str, float]:
    if not ordered:
        return {}
    return {f"p{share}_ms": percentile(ordered, share / 100) * 1000 for share in (50, 99)}


async def _all(
    port: int, texts: MixedTexts, numbers: Iterator[int], connections: int, until: float
) -> list[Answered]:
    answers: list[Answered] = []
    callers = (_call(port, texts, numbers, until, answers) for _ in range(connections))
    await asyncio.gather(*callers)
    return answers


async def _call(
    port: int, texts: MixedTexts, numbers: Iterator[int], until: float, answers: list[Answered]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while (started := time.monotonic()) < until:
            number = next(numbers)
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    status, _ = await ask(reader, writer, texts.at(number))
            except (OSError, EOFError, ValueError):
                status = 0
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            answers.append(Answered(number, status, time.monotonic() - started))
    finally:
        writer.close()
