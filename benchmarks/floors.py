"""Harness. The bare model loop: what is left when there is no server at all."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.contenders import Place, environ
from benchmarks.paths import ROOT

SIZES = (1, 8, 32, 100)


def bare_loop(
    place: Place,
    texts: Path,
    seconds: float,
    processes: int,
    sizes: Sequence[int] = SIZES,
) -> dict[str, Any]:
    """Texts per second of `processes` loops together, by texts per call."""
    argv = place.module("benchmarks.servers.bare", "--texts", str(texts))
    argv += ["--seconds", str(seconds), "--sizes", *map(str, sizes)]
    variables = {**os.environ, **environ(place)}
    loops = [
        subprocess.Popen(argv, cwd=ROOT, env=variables, stdout=subprocess.PIPE)
        for _ in range(processes)
    ]
    try:
        outputs = [loop.communicate(timeout=seconds * len(sizes) + 60)[0] for loop in loops]
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    return {"texts_per_s": added([json.loads(output) for output in outputs])}


def added(found: list[dict[str, float]]) -> dict[str, float]:
    """Key by key the sum."""
    return {key: sum(one[key] for one in found) for key in found[0]}
