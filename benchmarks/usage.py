"""Harness. CPU time and resident memory of a contender, by the role of its processes."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import psutil


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one moment."""

    role: str
    cpu_s: float
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Processes by (pid, start time), so that a new process never inherits an old one's time."""

    processes: dict[tuple[int, float], Process] = field(default_factory=dict)


def snapshot(roots: Mapping[int, str], patterns: Mapping[str, str]) -> Usage:
    """All processes below `roots` (pid to role); a command line with a pattern changes the role."""
    found: dict[tuple[int, float], Process] = {}
    for pid, role in roots.items():
        with suppress(psutil.NoSuchProcess):
            _visit(psutil.Process(pid), role, patterns, found)
    return Usage(found)


def per_request(before: Usage, after: Usage, requests: int) -> dict[str, dict[str, float]]:
    """By role: processes, CPU microseconds a request, resident bytes of all of them together."""
    rows: dict[str, dict[str, float]] = {}
    for key, process in after.processes.items():
        earlier = before.processes.get(key)
        cpu_s = process.cpu_s - (earlier.cpu_s if earlier else 0.0)
        row = rows.setdefault(process.role, {"processes": 0, "cpu_us": 0.0, "rss_bytes": 0})
        row["processes"] += 1
        row["cpu_us"] += cpu_s * 1e6 / max(requests, 1)
        row["rss_bytes"] += process.rss_bytes
    return rows


def busy_s() -> float:
    """CPU seconds of the whole machine since it started, with those that its host took away."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - _guests(times))


def spent_s(before: Usage, after: Usage) -> float:
    """CPU seconds of all processes between two snapshots."""
    spent = 0.0
    for key, process in after.processes.items():
        earlier = before.processes.get(key)
        spent += process.cpu_s - (earlier.cpu_s if earlier else 0.0)
    return spent


def role_of(command_line: str, inherited: str, patterns: Mapping[str, str]) -> str:
    """The role of the first pattern in the command line, else that of the parent."""
    for pattern, role in patterns.items():
        if pattern in command_line:
            return role
    return inherited


def _guests(times: object) -> float:
    # Linux counts them in `user` and `nice` too.
    return getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)


def _visit(
    process: psutil.Process,
    inherited: str,
    patterns: Mapping[str, str],
    found: dict[tuple[int, float], Process],
) -> None:
    with suppress(psutil.NoSuchProcess):
        role = role_of(" ".join(process.cmdline()), inherited, patterns)
        times = process.cpu_times()
        found[process.pid, process.create_time()] = Process(
            role, times.user + times.system, process.memory_info().rss
        )
        for child in process.children():
            _visit(child, role, patterns, found)
