"""Harness. What is wanted of mlserve, as ratios within one run, and whether it was reached."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Medians = dict[str, dict[str, Any]]

IN_PROCESS = ("flask", "fastapi", "litserve")


@dataclass(frozen=True, slots=True)
class Target:
    """`value` is what was measured; smaller is better where `is_ceiling`; None: no such bound."""

    what: str
    value: Callable[[Medians], float]
    at_least: float | None
    aim: float | None
    unit: str = "x"
    is_ceiling: bool = False

    def measured(self, medians: Medians) -> float | None:
        """The value; None where a run that it needs was not made or failed."""
        try:
            return self.value(medians)
        except (KeyError, ZeroDivisionError, ValueError):
            return None

    def verdict(self, value: float | None) -> str:
        """`aim`, `met`, `missed`, `below aim` (no bound but an aim), or `-` (not measured)."""
        if value is None:
            return "-"
        if self.aim is not None and self._reaches(value, self.aim):
            return "aim"
        if self.at_least is None:
            return "below aim"
        return "met" if self._reaches(value, self.at_least) else "missed"

    def _reaches(self, value: float, bound: float) -> bool:
        return value <= bound if self.is_ceiling else value >= bound


def _rate(medians: Medians, name: str, connections: int) -> float:
    rate: float = medians[name][f"single@{connections}"]["good_per_s"]
    return rate


def _p50(medians: Medians, name: str, connections: int) -> float:
    p50: float = medians[name][f"single@{connections}"]["p50_ms"]
    return p50


def _best_in_process(medians: Medians) -> float:
    return max(_rate(medians, name, 64) for name in IN_PROCESS if name in medians)


def _tail(medians: Medians) -> float:
    run = medians["mlserve"]["single@64"]
    return float(run["p99_ms"] / run["p50_ms"])


def _cache(floor: str) -> Callable[[Medians], float]:
    return lambda m: float(m["mlserve"]["cache-hits@64"]["good_per_s"] / _rate(m, floor, 64))


def _batch_rate(medians: Medians) -> float:
    ours = medians["mlserve"]["batch-100@8"]["texts_per_s"]
    return float(ours / medians["bare"]["all-cores"]["texts_per_s"]["100"])


def _overload(key: str) -> Callable[[Medians], float]:
    return lambda medians: float(medians["mlserve"]["overload"][key])


def _cpu(role: str) -> Callable[[Medians], float]:
    return lambda m: float(m["mlserve"]["single@64"]["processes"][role]["cpu_us"])


TARGETS = (
    Target(
        "requests/s at 64 connections, against naive Celery",
        lambda m: _rate(m, "mlserve", 64) / _rate(m, "naive-celery", 64),
        9,
        16,
    ),
    Target(
        "requests/s at 64 connections, against the best of Flask, FastAPI, LitServe",
        lambda m: _rate(m, "mlserve", 64) / _best_in_process(m),
        1.5,
        2.5,
    ),
    Target(
        "p50 at 1 connection, against Flask in process",
        lambda m: _p50(m, "mlserve", 1) / _p50(m, "flask", 1),
        2,
        1.5,
        is_ceiling=True,
    ),
    Target(
        "p50 at 16 connections, against LitServe",
        lambda m: _p50(m, "mlserve", 16) / _p50(m, "litserve", 16),
        1,
        None,
        is_ceiling=True,
    ),
    Target(
        "p50 at 16 connections, against mosec",
        lambda m: _p50(m, "mlserve", 16) / _p50(m, "mosec", 16),
        None,
        1,
        is_ceiling=True,
    ),
    Target("p99 / p50 at 64 connections", _tail, 3, 2, is_ceiling=True),
    Target("cache hits at 64 connections, against empty Flask", _cache("empty-flask"), 0.7, 0.9),
    Target("cache hits at 64 connections, against empty ASGI", _cache("empty-asgi"), 0.7, 0.9),
    Target(
        "/batch-predict with 10 texts, 1 connection, p99",
        lambda m: float(m["mlserve"]["batch-10@1"]["p99_ms"]),
        100,
        10,
        "ms",
        is_ceiling=True,
    ),
    Target(
        "/batch-predict with 100 texts, texts/s against the bare loop on all cores",
        _batch_rate,
        0.5,
        0.7,
    ),
    Target(
        "twice its capacity: answers in time, against its peak",
        _overload("in_time_to_peak"),
        0.9,
        0.97,
    ),
    Target(
        "twice its capacity: refused (503) within, p99",
        _overload("refused_p99_ms"),
        50,
        None,
        "ms",
        is_ceiling=True,
    ),
    Target(
        "twice its capacity: neither in time nor refused",
        _overload("failed"),
        0,
        None,
        "requests",
        is_ceiling=True,
    ),
    # Above this all connections were waiting: the load was not what it should have been.
    Target(
        "twice its capacity: sent late by, at most",
        _overload("slip_ms"),
        100,
        None,
        "ms",
        is_ceiling=True,
    ),
    Target("CPU a request at 64 connections, API", _cpu("api"), None, 250, "us", is_ceiling=True),
    Target(
        "CPU a request at 64 connections, workers",
        _cpu("worker"),
        None,
        60,
        "us",
        is_ceiling=True,
    ),
)


def judge(medians: Medians) -> list[dict[str, Any]]:
    """A row per target: what, measured, bounds, unit, verdict."""
    rows = []
    for target in TARGETS:
        value = target.measured(medians)
        rows.append(
            {
                "what": target.what,
                "measured": value,
                "at_least": target.at_least,
                "aim": target.aim,
                "unit": target.unit,
                "is_ceiling": target.is_ceiling,
                "verdict": target.verdict(value),
            }
        )
    return rows
