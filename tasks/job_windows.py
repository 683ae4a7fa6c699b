"""Worker process. How many texts of a job's chunk are computed together.

Texts that cost by their lengths are put into batches in the order of those: the more of them there
are to choose from, the less is padding. Others need only be so many that a pass is worth its while.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from app.inference.costs import measure
from app.jobs.chunks import MAX_STRETCH
from app.models.loader import LoadedModel
from app.settings import Settings

# Of a version that nobody knows yet.
FIRST_TEXTS = 64
# What texts of one cost take together at most, as a share of `jobs.target_chunk_seconds`.
EVEN_SHARE = 0.25
# What any take, as a share of the time after which the watchdog ends the process.
SHARE_OF_LIMIT = 0.25


class Windows:
    """Sizes that follow what texts have taken in this process, by version.

    `max_s` is what a chunk should take at most.
    """

    def __init__(self, settings: Settings) -> None:
        target_s = settings.jobs.target_chunk_seconds
        limit_s = settings.worker.hard_limit_s
        self.max_s = max(target_s, min(MAX_STRETCH * target_s, SHARE_OF_LIMIT * limit_s))
        self._even_s = EVEN_SHARE * target_s
        self._max_texts = settings.jobs.max_batch_size
        # Seconds for a unit of cost, by ref.
        self._units_s: dict[str, float] = {}

    def fitting(self, model: LoadedModel, texts: Sequence[str]) -> int:
        """How many of the first of these texts to compute together: one at least."""
        most = min(len(texts), self._max_texts)
        unit_s = self._units_s.get(model.ref)
        if unit_s is None:
            return min(most, FIRST_TEXTS)
        is_even = model.manifest.batching.cost == "texts"
        max_cost = (self._even_s if is_even else self.max_s) / unit_s
        return max(1, bisect_right(list(accumulate(_costs(model, texts[:most]))), max_cost))

    def took(self, model: LoadedModel, texts: Sequence[str], seconds: float) -> None:
        """Learn from texts that were computed together."""
        self._units_s[model.ref] = seconds / sum(_costs(model, texts))


def _costs(model: LoadedModel, texts: Sequence[str]) -> list[float]:
    cost = measure(model.manifest)
    return [1.0] * len(texts) if cost is None else [cost(text) for text in texts]
