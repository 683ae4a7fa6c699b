"""CLI. The picture of a service that `mlserve stats` shows, as lines: the worst first.

Of what is not there nothing is said, so that all of it fits a small terminal.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from cli.options import megabytes
from cli.progress import done, duration

STYLES = {"ok": "green", "degraded": "yellow", "down": "bold red"}
HEAD = "bold"
LEVELS = {"alarm": "bold red", "warn": "yellow", "ok": ""}
NO_RATE = "-"
# Blank lines are for those who have room.
MAX_LINES = 24
MAX_ROUTES = 5
PREDICTIONS = ("/predict", "/batch-predict")

Found = dict[str, Any]


class Line(NamedTuple):
    """A line and, for terminals with colours, how rich names its style."""

    text: str
    style: str = ""


class Look(NamedTuple):
    """An answer of `/stats` and when it came, in monotonic seconds."""

    found: Found
    at: float


class Pace:
    """What was counted per second between two looks; knows none without the first."""

    def __init__(self, look: Look, before: Look | None) -> None:
        self._before = before.found if before else None
        self._s = look.at - before.at if before else 0.0

    def __call__(self, now: int, count: Callable[[Found], int | None]) -> str:
        """Of a figure that is `now` and that `count` finds in the look before.

        One that went back is that of processes which began anew.
        """
        was = count(self._before) if self._before else None
        if was is None or self._s <= 0 or now < was:
            return NO_RATE
        return f"{(now - was) / self._s:.1f}"


def picture(look: Look, before: Look | None, url: str) -> list[Line]:
    """All lines; rates are those since the look `before`."""
    found, pace = look.found, Pace(look, before)
    parts = [
        [*_head(found, url), *_figures(found, pace)],
        _routes(found, pace),
        _versions(found),
        [*_workers(found, pace), *_failures(found)],
        _jobs(found),
    ]
    excess = sum(map(len, parts)) - MAX_LINES
    if excess > 0:
        # The least asked routes matter least; their head and those of predictions stay.
        parts[1] = parts[1][: max(1 + len(PREDICTIONS), len(parts[1]) - excess)]
    first, *rest = (part for part in parts if part)
    dense = [*first, *(line for part in rest for line in part)]
    if len(dense) + len(rest) > MAX_LINES:
        return dense
    return [*first, *(line for part in rest for line in (Line(""), *part))]


def _head(found: Found, url: str) -> Iterator[Line]:
    health, counts = found["health"], found["counts"]
    counted = f", counting for {duration(counts['uptime_s'])}" if counts else ""
    clock = time.strftime("%H:%M:%S")
    yield Line(f"{health['status'].upper()}  {url}{counted}, {clock}", STYLES[health["status"]])
    for reason in health["reasons"]:
        yield Line(f"  {reason}", STYLES[health["status"]])


def _figures(found: Found, pace: Pace) -> Iterator[Line]:
    counts = found["counts"]
    if counts is None:
        yield Line("monitoring is disabled: nothing is counted")
    else:
        rate = pace(counts["requests"], _all_requests)
        per_s = "" if rate == NO_RATE else f", {rate}/s"
        yield Line(f"requests  {counts['requests']}{per_s}: {_statuses(counts['responses'])}")
        yield Line(f"errors    {_listed(counts['errors'])}", "red" if counts["errors"] else "")
        yield Line(f"cache     {_cache(counts['cache'])}")
    yield Line(f"queues    {_queues(found)}")
    if drift := found.get("drift"):
        yield _drift(drift)


def _statuses(counted: dict[str, int]) -> str:
    return ", ".join(f"{number} x {status}" for status, number in counted.items()) or "none"


def _cache(texts: dict[str, int]) -> str:
    total = sum(texts.values())
    return f"{texts.get('hit', 0) / total:.1%} of {total} texts remembered" if total else "unused"


def _queues(found: Found) -> str:
    if not found["redis_reachable"]:
        return "unknown: Redis cannot be reached"
    ages = found.get("queue_age_s") or {}
    waiting = [
        f"{name} {number}" + (f" for {ages[name]:.1f} s" if ages.get(name) else "")
        for name, number in found["queues"].items()
        if number
    ]
    return ", ".join(waiting) or "empty"


def _drift(verdicts: dict[str, str]) -> Line:
    """The worst first; how many have no verdict, and not which."""
    told = [(level, ref) for level in LEVELS for ref in verdicts if verdicts[ref] == level]
    parts = [f"{ref} {level}" for level, ref in told]
    if silent := len(verdicts) - len(told):
        parts.append(f"no verdict on {silent}")
    return Line(f"drift     {', '.join(parts)}", LEVELS[told[0][0]] if told else "")


def _routes(found: Found, pace: Pace) -> list[Line]:
    rows = found["counts"]["latency"] if found["counts"] else []
    # Those that matter, and then those that are much asked.
    rows = sorted(rows, key=lambda row: (row["route"] not in PREDICTIONS, -row["requests"]))
    return table(
        ("route", "requests", "per s", "p50 ms", "p95 ms", "p99 ms"),
        [
            (
                row["route"],
                str(row["requests"]),
                pace(row["requests"], partial(_requests, row["route"])),
                *(f"{row[f'p{p}_ms']:.1f}" for p in (50, 95, 99)),
            )
            for row in rows[:MAX_ROUTES]
        ],
    )


def _versions(found: Found) -> list[Line]:
    labels: dict[str, dict[str, int]] = {}
    for worker in found["workers"]:
        labels |= {ref: {} for ref in worker["ready"]}
    for row in found["counts"]["predictions"] if found["counts"] else []:
        labels.setdefault(f"{row['model']}-{row['version']}", {})[row["label"]] = row["texts"]
    return table(
        ("version", "ready on", "texts", "labels"),
        [
            (ref, _holders(found, ref), str(sum(texts.values())), _listed(texts))
            for ref, texts in sorted(labels.items())
        ],
    )


def _holders(found: Found, ref: str) -> str:
    ready = [worker["hostname"] for worker in found["workers"] if ref in worker["ready"]]
    return _some(found, ready)


def _some(found: Found, hostnames: list[str]) -> str:
    is_everywhere = len(hostnames) == len(found["workers"]) > 1
    return f"all {len(hostnames)}" if is_everywhere else ", ".join(hostnames) or "none"


def _workers(found: Found, pace: Pace) -> list[Line]:
    return table(
        ("worker", "device", "queues", "chunks", "per s", "memory", "ready", "failed"),
        [
            (
                worker["hostname"],
                worker["device"],
                "+".join(sorted({queue.partition(".")[0] for queue in worker["queues"]})),
                str(worker["chunks"]),
                pace(worker["chunks"], partial(_chunks, worker["hostname"])),
                megabytes(worker["memory_bytes"]),
                str(len(worker["ready"])),
                str(len(worker["failed"])),
            )
            for worker in found["workers"]
        ],
    )


def _failures(found: Found) -> list[Line]:
    where: dict[tuple[str, str], list[str]] = {}
    for worker in found["workers"]:
        for ref, reason in worker["failed"].items():
            where.setdefault((ref, reason), []).append(worker["hostname"])
    return [
        Line(f"{ref} failed on {_some(found, hosts)}: {reason.removeprefix(f'{ref}: ')}", "yellow")
        for (ref, reason), hosts in where.items()
    ]


def _jobs(found: Found) -> list[Line]:
    return table(
        ("job", "status", "done", "texts", "left"),
        [
            (
                job["id"],
                job["status"],
                f"{done(job) / max(1, job['request_counts']['total']):.0%}",
                str(job["request_counts"]["total"]),
                NO_RATE if job["eta_s"] is None else duration(job["eta_s"]),
            )
            for job in found["jobs"] or []
        ],
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Line]:
    """Aligned columns under their names; nothing where there are no rows.

    A column of rates without any is left out.
    """
    if not rows:
        return []
    lines = [[column.upper() for column in columns], *map(list, rows)]
    kept = [column for column in zip(*lines, strict=True) if set(column[1:]) != {NO_RATE}]
    padded = [[cell.ljust(max(map(len, column))) for cell in column] for column in kept]
    texts = ["  ".join(cells).rstrip() for cells in zip(*padded, strict=True)]
    return [Line(texts[0], HEAD), *map(Line, texts[1:])]


def _listed(counted: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counted.items()) or "none"


def _all_requests(was: Found) -> int | None:
    return was["counts"]["requests"] if was["counts"] else None


def _requests(route: str, was: Found) -> int | None:
    rows = was["counts"]["latency"] if was["counts"] else []
    return next((row["requests"] for row in rows if row["route"] == route), None)


def _chunks(hostname: str, was: Found) -> int | None:
    found = (w["chunks"] for w in was["workers"] if w["hostname"] == hostname)
    return next(found, None)
