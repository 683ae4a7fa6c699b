"""Worker process. With which size of batches a version computes the most texts a second.

A size is what the manifest counts (`app.models.base.Batching`): tokens with their padding, or
texts. All sizes take turns over the same texts, so that a machine that slows down slows them all.
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, cycle, islice
from typing import Any, NamedTuple

from app.models.budget import TokenBudget
from app.models.guard import only_model_errors
from app.models.loader import LoadedModel
from app.preprocessing.subwords import TokenizedTexts

# A chunk of a busy worker: as many texts as take so long, and not less than so many.
WINDOW_S = 0.5
MIN_WINDOW_TEXTS = 32
FIRST_BUDGET_TOKENS = 64
# To find out how fast the version is at all, before anything is compared.
TRIAL_BUDGET_TOKENS = 512
# What is so much slower than the best is measured no further.
HOPELESS = 0.8
# Among sizes that are as good the smallest one: a short text waits for a shorter batch.
AS_GOOD = 0.98

# The mixture: of five texts one is long. By BERT's tokenizer about 63 tokens in the mean, cut at
# 256: what makes batching by count slow.
SHORT_WORDS = (4, 28)
LONG_WORDS = (150, 220)
MIX = 5


class Point(NamedTuple):
    """What batches of at most `size` reached; `padding_share` is 0.0 where there are no tokens."""

    size: int
    texts_per_s: float
    padding_share: float
    batch_ms: float


class Curve(NamedTuple):
    """What was measured, by growing size, `window_texts` at a time, and the best size.

    `unmeasured` sizes are those that no time was left for. `counts_tokens` says what a size is.
    """

    points: list[Point]
    best: int
    counts_tokens: bool
    window_texts: int
    unmeasured: list[int]


@dataclass(slots=True)
class Sum:
    """What the batches of one size were so far."""

    texts: int = 0
    batches: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    seconds: float = 0.0

    def add(self, other: "Sum") -> None:
        """Count what `other` has counted."""
        self.texts += other.texts
        self.batches += other.batches
        self.tokens += other.tokens
        self.padded_tokens += other.padded_tokens
        self.seconds += other.seconds

    @property
    def texts_per_s(self) -> float:
        """0.0 before anything was measured."""
        return self.texts / self.seconds if self.seconds else 0.0

    def point(self, size: int) -> Point:
        """For people; something must have been measured."""
        padding_share = 1 - self.tokens / self.padded_tokens if self.padded_tokens else 0.0
        batch_ms = self.seconds / self.batches * 1000
        return Point(size, self.texts_per_s, padding_share, batch_ms)


def mixture(words: Sequence[str], texts: int, seed: int = 0) -> list[str]:
    """Texts that differ, made of `words`: of every five, four are short and one is long."""
    random_ = random.Random(seed)  # noqa: S311 - words, not secrets
    made = []
    for number in range(texts):
        at = number % MIX
        if at == 0:
            long_at = random_.randrange(MIX)
        words_each = LONG_WORDS if at == long_at else SHORT_WORDS
        drawn = random_.choices(words, k=random_.randint(*words_each))
        made.append(f"{' '.join(drawn)} {number}")
    return made


def tune(model: LoadedModel, texts: Sequence[str], seconds: float, max_window_texts: int) -> Curve:
    """Measure for about `seconds`, a window of `texts` (one at least) for each size in turn.

    A window has at most `max_window_texts`, as a chunk has. Raises `ModelError` subclasses.
    """
    until = time.perf_counter() + seconds
    with only_model_errors(model.ref):
        cleaned = [model.pipeline.clean(text) for text in texts]
        bench = Bench(model, counts_tokens(model))
        window_texts = bench.window_texts(cleaned, max_window_texts)
        sizes = list(bench.sizes(list(islice(cycle(cleaned), window_texts))))
        measured = bench.race(sizes, cleaned, window_texts, until)
    points = [measured[size].point(size) for size in sizes if size in measured]
    unmeasured = [size for size in sizes if size not in measured]
    return Curve(points, best(points), bench.counts_tokens, window_texts, unmeasured)


def best(points: Sequence[Point]) -> int:
    """The smallest size that is as good as the fastest one."""
    fastest = max(point.texts_per_s for point in points)
    return min(point.size for point in points if point.texts_per_s >= AS_GOOD * fastest)


def counts_tokens(model: LoadedModel) -> bool:
    """Whether batches of `model` are cut by tokens, so that it has a budget that can be tuned."""
    return model.budget is not None and isinstance(model.pipeline.extract([]), TokenizedTexts)


class Bench:
    """Computes windows of texts as the engine does, in batches of one size."""

    def __init__(self, model: LoadedModel, counts_tokens: bool) -> None:
        self.counts_tokens = counts_tokens
        self._model = model

    def window_texts(self, cleaned: Sequence[str], max_texts: int) -> int:
        """As many texts as the model computes in `WINDOW_S`, within the limits."""
        trial = list(islice(cycle(cleaned), min(MIN_WINDOW_TEXTS, max_texts)))
        size = TRIAL_BUDGET_TOKENS if self.counts_tokens else MIN_WINDOW_TEXTS
        self.run(trial, size)  # the first call allocates what later ones find
        return min(max_texts, max(len(trial), int(self.run(trial, size).texts_per_s * WINDOW_S)))

    def sizes(self, window: Sequence[str]) -> Iterator[int]:
        """Doubling, up to the one with which the whole window is one batch."""
        whole, first = len(window), 1
        if self.counts_tokens:
            texts = self._model.pipeline.extract(window)
            whole, first = texts.cost(self._model.pads), FIRST_BUDGET_TOKENS
        for doublings in count():
            yield first << doublings
            if first << doublings >= whole:
                return

    def race(
        self, sizes: Sequence[int], cleaned: Sequence[str], window_texts: int, until: float
    ) -> dict[int, Sum]:
        """What each size reached in as many rounds as end before `until`, one at least."""
        texts, total, running = cycle(cleaned), dict[int, Sum](), list(sizes)
        while True:
            found = self._round(running, list(islice(texts, window_texts)), until)
            # A round that was cut off has been easier for those that had no turn.
            if not total or len(found) == len(running):
                for size, sum_ in found.items():
                    total.setdefault(size, Sum()).add(sum_)
            fastest = max(total[size].texts_per_s for size in total)
            running = [s for s in running if s in found and is_close(total[s], fastest)]
            if len(running) < 2 or time.perf_counter() >= until:
                return total

    def _round(self, sizes: Sequence[int], window: list[str], until: float) -> dict[int, Sum]:
        found: dict[int, Sum] = {}
        for size in sizes:
            if found and time.perf_counter() >= until:
                break
            try:
                found[size] = self.run(window, size)
            except MemoryError:
                if not found:
                    raise
                break  # larger ones will not fit either
        return found

    def run(self, window: list[str], size: int) -> Sum:
        """One window, in batches of at most `size`."""
        sum_, started = Sum(texts=len(window)), time.perf_counter()
        for features in self._batches(window, size):
            self._model.predictor.predict_proba(features)
            sum_.batches += 1
            if isinstance(features, TokenizedTexts):
                sum_.tokens += sum(features.lengths)
                sum_.padded_tokens += features.cost(self._model.pads)
        sum_.seconds = time.perf_counter() - started
        return sum_

    def _batches(self, window: list[str], size: int) -> Iterator[Any]:
        pipeline = self._model.pipeline
        if self.counts_tokens:
            texts = pipeline.extract(window)
            budget = TokenBudget(size, self._model.pads)
            yield from (texts[rows] for rows in budget.pieces(texts))
            return
        for start in range(0, len(window), size):
            yield pipeline.extract(window[start : start + size])


def is_close(sum_: Sum, fastest: float) -> bool:
    """Whether it is worth measuring further."""
    return sum_.texts_per_s >= HOPELESS * fastest
