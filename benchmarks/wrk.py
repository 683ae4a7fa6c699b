"""Harness. Runs wrk with load.lua and reads what it prints."""

import json
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.paths import WRK_SCRIPT

RESULT = "RESULT "
OPEN_FILES = 8192
# wrk counts an answer that comes later than this as a time-out.
TIMEOUT_S = 10


class WrkMissing(Exception):
    """wrk is not installed: `apt-get install wrk` on Debian and Ubuntu."""


class WrkFailed(Exception):
    """wrk printed no result; the argument is what it printed instead."""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk sends: `rate` (requests a second) makes it an open loop, `batch` 0 a single text."""

    path: str
    connections: int
    seconds: float
    first: int
    batch: int = 0
    repeat: int | None = None
    rate: float | None = None
    deadline_ms: int = 5000

    def script_options(self, texts: Path) -> list[str]:
        """The `key=value` options of load.lua."""
        options = {
            "texts": texts,
            "first": self.first,
            "batch": self.batch,
            "repeat": self.repeat,
            "rate": self.rate,
            "deadline_ms": self.deadline_ms,
        }
        return [f"{key}={value}" for key, value in options.items() if value is not None]


def allow_many_files() -> None:
    """For wrk and the servers, which inherit it: a connection is a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def find_wrk() -> str:
    """The path of wrk; `WrkMissing` says how to install it."""
    if found := shutil.which("wrk"):
        return found
    raise WrkMissing(WrkMissing.__doc__)


def run(url: str, load: Load, texts: Path) -> dict[str, Any]:
    """Put `load` on `url`; the result of `parse` with the CPU seconds that wrk itself took."""
    seconds = f"{max(1, round(load.seconds))}s"
    argv = [find_wrk(), "--threads", "1", "--connections", str(load.connections)]
    argv += ["--duration", seconds, "--timeout", f"{TIMEOUT_S}s", "--script", str(WRK_SCRIPT)]
    argv += [url + load.path, "--", *load.script_options(texts)]
    before = _children_cpu_s()
    done = subprocess.run(
        argv,
        check=False,
        capture_output=True,
        text=True,
        timeout=load.seconds + 60,
    )
    result = parse(done.stdout, done.stderr)
    result["wrk_cpu_s"] = round(_children_cpu_s() - before, 3)
    return result


def parse(output: str, errors: str = "") -> dict[str, Any]:
    """The JSON object of the RESULT line, with rates added; `WrkFailed` where there is none."""
    lines = [line for line in output.splitlines() if line.startswith(RESULT)]
    if len(lines) != 1:
        raise WrkFailed(f"{output}{errors}".strip() or "no output")
    result: dict[str, Any] = json.loads(lines[0].removeprefix(RESULT))
    duration_s = result["duration_us"] / 1e6
    result["requests_per_s"] = result["requests"] / duration_s
    for name in ("p50", "p90", "p99", "max", "mean"):
        result[f"{name}_ms"] = result.pop(f"{name}_us") / 1000
    # A status of 400 or more is an answer too, but not one that counts.
    result["good_per_s"] = (result["requests"] - result["errors"]["status"]) / duration_s
    return result


def failures(result: dict[str, Any]) -> int:
    """Requests of a run that went wrong in any way."""
    return int(sum(result["errors"].values()))


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
