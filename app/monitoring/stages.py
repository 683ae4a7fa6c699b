"""Shared. Observes where the time of chunks goes, chunk by chunk, with everything looked up before.

A chunk costs a few microseconds here, whatever it holds: the API process tells what it sees of it
after its callers are woken, the worker after it was computed.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.contract import ChunkResult, Outcome
from app.models.base import Ref
from app.monitoring.metrics import Distribution, Metrics

if TYPE_CHECKING:
    from app.inference.batching import BatchLimits
    from app.inference.lanes import Flight

PREDICT, JOB = "predict", "job"
CAUSES = ("full", "cost", "idle", "timer")


class Flights:
    """What an API process sees of the chunks that come back to it."""

    def __init__(self, metrics: Metrics, limits: "BatchLimits") -> None:
        self._limits = limits
        self._batch_wait = metrics.stage_seconds.labels("batch_wait")
        self._reply = metrics.stage_seconds.labels("reply")
        self._causes = {cause: metrics.flushes.labels(cause) for cause in CAUSES}

    def observe(self, flight: "Flight", result: ChunkResult, landed_at: float) -> None:
        """A chunk has landed; `landed_at` is in the monotonic seconds of `flight.sent_at`."""
        held_s = flight.sent_at - min(slot.held_at for slot in flight.slots)
        self._batch_wait.observe(max(0.0, held_s))
        self._causes[self._cause(flight, held_s)].inc()
        # One that no worker has had has no reply.
        if result.queued_s is not None:
            spent_s = result.queued_s + result.preprocess_s + result.inference_s
            self._reply.observe(max(0.0, landed_at - flight.sent_at - spent_s))

    def _cause(self, flight: "Flight", held_s: float) -> str:
        if len(flight.slots) >= self._limits.max_batch_size:
            return "full"
        if flight.is_cut:
            return "cost"
        return "timer" if held_s >= self._limits.max_hold_s > 0 else "idle"


class Computations:
    """What a worker sees of the texts that it computes."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._queue, self._preprocess, self._inference = (
            metrics.stage_seconds.labels(stage) for stage in ("queue", "preprocess", "inference")
        )
        self._texts = {kind: metrics.batch_texts.labels(kind) for kind in (PREDICT, JOB)}
        self._confidence: dict[str, Distribution] = {}
        self._padding: dict[str, Distribution] = {}

    def answered(self, result: ChunkResult) -> None:
        """A chunk was computed for callers who wait."""
        if result.queued_s is not None:
            self._queue.observe(result.queued_s)
        self._preprocess.observe(result.preprocess_s)
        self._inference.observe(result.inference_s)
        self.computed(result, PREDICT)

    def computed(self, result: ChunkResult, kind: str) -> None:
        """A batch was computed for requests (`PREDICT`) or a job (`JOB`)."""
        self._texts[kind].observe(len(result.outcomes))
        best = [max(row) for o in result.outcomes if (row := o.probabilities) is not None]
        _child(self._confidence, self._metrics.confidence, result.ref).observe_all(best)
        if result.tokens and result.padded_tokens:
            padding = 1 - result.tokens / result.padded_tokens
            _child(self._padding, self._metrics.padding, result.ref).observe(padding)

    def committed(self, ref: str, labels: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        """Outcomes became results of a job."""
        best = [row.index(max(row)) for o in outcomes if (row := o.probabilities) is not None]
        for at, texts in Counter(best).items():
            self._metrics.count_texts(ref, labels[at], texts)
        codes = Counter(outcome.error.code for outcome in outcomes if outcome.error is not None)
        for code, texts in codes.items():
            self._metrics.count_failures(ref, code, texts)


def _child(known: dict[str, Distribution], metric: Distribution, ref: str) -> Distribution:
    found = known.get(ref)
    if found is None:
        found = known[ref] = metric.labels(*Ref.parse(ref))
    return found
