"""Harness. What is asked of one running contender, and what it answered."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.settings import Limits
from benchmarks import stages, wrk
from benchmarks.checking import Checked, Reference, Sampling, check_together
from benchmarks.contenders import Place
from benchmarks.running import Running
from benchmarks.texts import Cursor, Texts
from benchmarks.usage import busy_s, per_request, spent_s
from benchmarks.wrk import Load

CHECKED_TEXTS = 200
WARM_UP_S = 1.0
WARM_UP_CONNECTIONS = 16
# With few connections the samples themselves would be a part of the load.
MIN_SAMPLED_CONNECTIONS = 16
SAMPLES_PER_S = 5
CACHED_TEXTS = 100
CACHE_CONNECTIONS = 64
BATCHES = {10: 1, 100: 8}
OVERLOAD_FACTOR = 2
# Beside those that the service may let wait, for what is asked in so long: the schedule is kept,
# and the rest is refused. No more: each takes time of wrk, which shares the cores, even if idle.
SPARE_S = 0.25
MAX_SPARE_CONNECTIONS = 2048
DEADLINE_MS = 5000


@dataclass
class Session:
    """One start of one contender; `results` maps scenarios (`single@64`) to what was measured.

    `reference` tells right answers from wrong ones; without it none is checked.
    """

    running: Running
    texts: Texts
    text_file: Path
    reference: Reference | None
    seconds: float
    cursor: Cursor = field(default_factory=Cursor)
    results: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Compare 200 answers, then warm the contender up."""
        assert self.reference is not None
        first = self.cursor.take(CHECKED_TEXTS)
        texts = [self.texts.at(first + i) for i in range(CHECKED_TEXTS)]
        checked = check_together(self.running.url, texts, self.reference)
        self.results["check"] = {"checked": checked.answers, "wrong": checked.wrong}
        self.warm_up()

    def warm_up(self) -> None:
        """Send a load that is not measured."""
        self._run(Load("/predict", WARM_UP_CONNECTIONS, WARM_UP_S, self.cursor.next))

    def singles(self, connections: int) -> None:
        """A different text with every request."""
        load = Load("/predict", connections, self.seconds, self.cursor.next)
        sampled = connections >= MIN_SAMPLED_CONNECTIONS and self.reference is not None
        self._measure(f"single@{connections}", load, sampled)

    def cache_hits(self) -> None:
        """A small set of texts again and again; each is asked for once before."""
        first = self.cursor.take(CACHED_TEXTS)
        warm_up = Load("/predict", CACHE_CONNECTIONS, WARM_UP_S, first, repeat=CACHED_TEXTS)
        wrk.run(self.running.url, warm_up, self.text_file)
        load = Load("/predict", CACHE_CONNECTIONS, self.seconds, first, repeat=CACHED_TEXTS)
        self._measure(f"cache-hits@{CACHE_CONNECTIONS}", load)

    def batches(self) -> None:
        """`/batch-predict` with 10 texts on one connection, and with 100 texts on eight."""
        for size, connections in BATCHES.items():
            load = Load("/batch-predict", connections, self.seconds, self.cursor.next, batch=size)
            result = self._measure(f"batch-{size}@{connections}", load)
            result["texts_per_s"] = result["good_per_s"] * size

    def overload(self) -> None:
        """Twice the best rate that this start has reached, whether or not answers come."""
        peak = best_rate(self.results)
        if not peak:
            return
        load = Load(
            "/predict",
            overload_connections(peak, max_queued_texts(self.running.place)),
            self.seconds,
            self.cursor.next,
            rate=round(peak * OVERLOAD_FACTOR),
            deadline_ms=DEADLINE_MS,
        )
        result = self._measure("overload", load)
        result.update(judge_overload(result, peak))
        # Being refused in time is what is asked for here, not an error.
        result["errors"]["status"] -= result["statuses"].get("503", {}).get("count", 0)

    def _measure(self, scenario: str, load: Load, sampled: bool = False) -> dict[str, Any]:
        counted_before = self._stages()
        busy_before, own_before = busy_s(), time.process_time()
        before = self.running.usage()
        result = self._run_sampled(load) if sampled else self._run(load)
        after = self.running.usage()
        result["processes"] = per_request(before, after, result["requests"])
        known_s = spent_s(before, after) + result["wrk_cpu_s"] + time.process_time() - own_before
        # What the rest of the machine took while this was measured, in cores.
        others_s = busy_s() - busy_before - known_s
        result["others_cores"] = max(0.0, others_s / (result["duration_us"] / 1e6))
        result["stages_ms"] = stages.between(counted_before, self._stages())
        self.results[scenario] = result
        return result

    def _run_sampled(self, load: Load) -> dict[str, Any]:
        assert self.reference is not None
        number = round(self.seconds * SAMPLES_PER_S)
        # Far from what wrk will take: nothing is asked for twice.
        first = self.cursor.next + (1 << 40)
        samples = [self.texts.at(first + i) for i in range(number)]
        with Sampling(self.running.url, samples, self.reference) as sampling:
            result = self._run(load)
        return result | _as_result(sampling.checked)

    def _run(self, load: Load) -> dict[str, Any]:
        result = wrk.run(self.running.url, load, self.text_file)
        if load.repeat is None:
            self.cursor.take(result["texts_used"])
        return result

    def _stages(self) -> stages.Stages:
        return stages.read(self.running.place) if self.running.contender.is_mlserve else {}


def max_queued_texts(place: Place) -> int:
    """How many texts mlserve lets wait there."""
    limits: Mapping[str, Any] = place.settings.get("limits", {})
    return int(limits.get("max_queued_texts", Limits().max_queued_texts))


def overload_connections(peak: float, max_queued: int) -> int:
    """How many connections keep up twice the rate of `peak` answers a second."""
    may_wait = min(max_queued, round(peak * DEADLINE_MS / 1000))
    return may_wait + min(MAX_SPARE_CONNECTIONS, round(peak * SPARE_S))


def best_rate(results: dict[str, Any]) -> float:
    """The most requests a second answered with 200 in a run of single texts; 0.0 without one."""
    rates = [r["good_per_s"] for name, r in results.items() if name.startswith("single@")]
    return max(rates, default=0.0)


def judge_overload(result: dict[str, Any], peak: float) -> dict[str, float]:
    """Rates of an open-loop run: sent, answered in time, refused at once, and everything else."""
    statuses, duration_s = result["statuses"], result["duration_us"] / 1e6
    good, refused = statuses.get("200", {}), statuses.get("503", {})
    answered = sum(status["count"] for status in statuses.values())
    in_time = good.get("in_time", 0)
    failed = answered - in_time - refused.get("count", 0) + result["never_answered"]
    return {
        "peak_per_s": peak,
        "answered_per_s": answered / duration_s,
        "in_time_per_s": in_time / duration_s,
        "in_time_to_peak": in_time / duration_s / peak,
        "refused_share": refused.get("count", 0) / max(answered, 1),
        **({"refused_p99_ms": refused["p99_ms"]} if refused else {}),
        "failed": failed + result["errors"]["connect"] + result["errors"]["read"],
    }


def _as_result(checked: Checked) -> dict[str, Any]:
    return {"checked": checked.answers, "wrong": checked.wrong}
