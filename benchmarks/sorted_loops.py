"""Harness. What a transformer reaches without a server: loops over texts sorted by length."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders import Place, environ
from benchmarks.floors import added
from benchmarks.paths import ROOT

TIMEOUT_S = 900.0


def loops(
    place: Place,
    files: Sequence[Path],
    budgets: Sequence[int],
    seconds: float,
    threads: int = 1,
) -> dict[int, float]:
    """Texts per second by budget, of a loop for each file together; all begin at the same time.

    With `seconds` 0 each computes all its texts at once, a single time.
    """
    variables = {**os.environ, **environ(place)}
    processes = []
    try:
        for file in files:
            argv = place.module("benchmarks.servers.bare_sorted", "--texts", str(file))
            argv += ["--budgets", *map(str, budgets)]
            argv += ["--seconds", str(seconds), "--threads", str(threads)]
            processes.append(
                subprocess.Popen(
                    argv,
                    cwd=ROOT,
                    env=variables,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", "a loop has ended before it began"
        outputs = _finish(processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return {int(budget): rate for budget, rate in added(outputs).items()}


def _finish(processes: Sequence["subprocess.Popen[str]"]) -> list[dict[str, float]]:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [json.loads(process.communicate(timeout=TIMEOUT_S)[0]) for process in processes]


def write_parts(texts: Sequence[str], parts: int, directory: Path) -> list[Path]:
    """Files of about equally many texts, dealt out like cards."""
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for part in range(parts):
        files.append(directory / f"part{part}.json")
        files[-1].write_text(json.dumps(texts[part::parts]), encoding="utf-8")
    return files
