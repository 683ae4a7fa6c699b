"""Harness. What a figure was measured on: machine, versions, commit."""

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psutil

from benchmarks.paths import ROOT


def describe() -> dict[str, Any]:
    """The machine now; `load_1m` tells whether others were using it."""
    return {
        "cpu": cpu_model(_text(Path("/proc/cpuinfo"))),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "wrk": wrk_version(),
        "load_1m": os.getloadavg()[0],
    }


def commit() -> str:
    """The commit that was measured, with `+` where the tree had changes; "none" without one."""
    found = _output(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]).strip()
    if not found or "fatal" in found:
        return "none"
    changes = _output(["git", "-C", str(ROOT), "status", "--porcelain"])
    return f"{found}+" if changes.strip() else found


def cpu_model(cpuinfo: str) -> str:
    """The model name in /proc/cpuinfo, else what Python knows."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def wrk_version() -> str:
    """What wrk says of itself; "-" where it is absent: not every benchmark needs it."""
    found = shutil.which("wrk")
    return _output([found, "-v"]).split("[")[0].strip() if found else "-"


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""


def _output(argv: list[str]) -> str:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    return done.stdout or done.stderr
