"""Worker process. Counts what a process is asked and answers, until somebody takes the counts away.

Only counts are kept, no text. Measuring may cost a hundredth of the process's time, with some saved
up for bursts: a busy process measures a sample of its chunks, an idle one every text.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from app.models.loader import LoadedModel
from app.models.measures import Measures

logger = logging.getLogger(__name__)

BUDGET = 0.01
# CPU time that is saved up at most: some thousands of texts.
MAX_SAVED_S = 0.1


class Taken(NamedTuple):
    """What was counted for one version; `counts` by feature and bin."""

    ref: str
    texts: int
    counts: Mapping[str, Sequence[int]]


class _Tally:
    def __init__(self, ref: str, measures: Measures) -> None:
        self.ref, self.measures, self.texts = ref, measures, 0
        self.counts = np.zeros(measures.bins, dtype=np.int64)


class Traffic:
    """The counts of one process, by the keys of the versions' references; for any threads."""

    def __init__(
        self,
        now: Callable[[], float] = time.perf_counter,
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        self._now, self._spent = now, spent
        self._lock = threading.Lock()
        self._tallies: dict[str, _Tally] = {}
        self._saved_s, self._saved_at = MAX_SAVED_S, now()

    def see(
        self,
        model: LoadedModel,
        texts: Sequence[str],
        cleaned: Sequence[str],
        probabilities: Any,
        embedded: Any = None,
    ) -> None:
        """Count n answered texts, if there is time for it; arrays as `Measures.places` has them.

        Whatever goes wrong here must not cost anybody an answer: it is logged.
        """
        if model.measures is None or not self._may_spend():
            return
        started = self._spent()
        try:
            places = model.measures.places(texts, cleaned, probabilities, embedded)
            self._add(model, len(texts), model.measures.count(places))
        except Exception as error:  # noqa: BLE001 - see above
            # The message of a library may quote the text.
            details = {"ref": model.ref, "kind": type(error).__name__}
            logger.warning("texts were not measured", extra=details)
        with self._lock:
            self._saved_s -= self._spent() - started

    def take(self) -> dict[str, Taken]:
        """What was counted since the last call, by key."""
        with self._lock:
            tallies, self._tallies = self._tallies, {}
        return {
            key: Taken(tally.ref, tally.texts, tally.measures.by_feature(tally.counts))
            for key, tally in tallies.items()
        }

    def _may_spend(self) -> bool:
        with self._lock:
            moment = self._now()
            earned_s = BUDGET * (moment - self._saved_at)
            self._saved_s, self._saved_at = min(MAX_SAVED_S, self._saved_s + earned_s), moment
            return self._saved_s > 0

    def _add(self, model: LoadedModel, texts: int, counts: Any) -> None:
        measures = model.measures
        if measures is None:
            return
        with self._lock:
            tally = self._tallies.get(measures.key)
            if tally is None:
                tally = self._tallies[measures.key] = _Tally(model.ref, measures)
            tally.texts += texts
            tally.counts += counts
