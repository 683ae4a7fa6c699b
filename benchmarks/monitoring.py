"""Harness. What it costs to be watched: requests/s with all of it on, against all of it off.

    python -m benchmarks.monitoring [--quick]

Each variant is started in turn, round by round, and asked for single texts on 64 connections.
"""

import argparse
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import environments
from benchmarks.contenders import CONTENDERS, Command, Contender, Place
from benchmarks.paths import ROOT, STATE
from benchmarks.report import table
from benchmarks.running import Running
from benchmarks.scenarios import Session
from benchmarks.servers.model import Model
from benchmarks.texts import load_texts, text_file

PORT = 19_200
REF = "sentiment-v2"
CONNECTIONS = 64
OFF: Mapping[str, Any] = {"monitoring": {"enabled": False}, "drift": {"enabled": False}}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "off": OFF,
    "default": {},
    "with feedback": {"monitoring": {"feedback": True}},
}
# `mlserve serve` sends task events where Flower is to show them.
FLOWER = "with feedback and Flower"


def main() -> int:
    """Measure and print the table; 1 where all of it costs more than a tenth."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of 2 s")
    quick = parser.parse_args().quick
    rates: dict[str, list[float]] = defaultdict(list)
    for number in range(1 if quick else 5):
        for name, settings in [*VARIANTS.items(), (FLOWER, VARIANTS["with feedback"])]:
            rate = measure(name, settings, 2.0 if quick else 4.0)
            print(f"round {number + 1}: {name}: {rate:.0f}/s", file=sys.stderr)
            rates[name].append(rate)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    rows = ((name, f"{rate:.0f}", f"{rate / medians['off']:.3f}") for name, rate in medians.items())
    print(table(("variant", "requests/s", "against off"), rows))
    return int(medians["with feedback"] < 0.9 * medians["off"])


def measure(name: str, settings: Mapping[str, Any], seconds: float) -> float:
    """Good answers a second of one start."""
    texts, _ = load_texts()
    home = STATE / "run" / "monitoring"
    python = environments.prepare("mlserve")
    models_dir = ROOT / "models"
    place = Place(python, PORT, home, models_dir, REF, settings)
    contender = CONTENDERS["mlserve"]
    if name == FLOWER:
        contender = replace(contender, commands=_with_flower(contender))
    with Running(contender, place) as running:
        reference = Model(str(models_dir), REF).many
        session = Session(running, texts, Path(text_file(texts)), reference, seconds)
        session.check()
        session.singles(CONNECTIONS)
    rate: float = session.results[f"single@{CONNECTIONS}"]["good_per_s"]
    return rate


def _with_flower(contender: Contender) -> Any:
    def commands(place: Place) -> list[Command]:
        return [Command(row.role, [*row.argv, "--flower"]) for row in contender.commands(place)]

    return commands


if __name__ == "__main__":
    sys.exit(main())
