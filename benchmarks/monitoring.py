"""Harness. What it costs to be watched: requests/s with all of it on, against all of it off.

    python -m benchmarks.monitoring [--quick]

All variants are up at the same time and asked in turns, in bursts of a second, for single texts on
64 connections: a machine that slows down for a while slows the neighbours in a round alike. The
figure is the mean of the rounds' ratios (geometric) and its standard error.
"""

import argparse
import math
import os
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import environments
from benchmarks.collector import collector
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
BURST_S = 1.0
ROUNDS = 30
# From one variant's port to the next: each takes two.
PORT_STEP = 10
OFF: Mapping[str, Any] = {"monitoring": {"enabled": False}, "drift": {"enabled": False}}
FEEDBACK: Mapping[str, Any] = {"monitoring": {"feedback": True}}
TRACES: Mapping[str, Any] = FEEDBACK | {"tracing": {"enabled": True}}
# Each with what the ones before it have, but for the first.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "off": OFF,
    "default": {},
    "and feedback": FEEDBACK,
    "and traces": TRACES,
    "and Flower": TRACES,
}
FLOWER = "and Flower"


def main() -> int:
    """Measure and print the table; 1 where all of it costs more than a tenth."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two rounds")
    rounds = 2 if parser.parse_args().quick else ROUNDS
    rates = measure(rounds)
    rows = []
    for name, found in rates.items():
        share, error = ratio(found, rates["off"])
        rate = statistics.median(found)
        rows.append((name, f"{rate:.0f}", f"{share:.3f}", f"{error:.3f}"))
    print(table(("variant", "requests/s", "against off", "standard error"), rows))
    return int(ratio(rates[FLOWER], rates["off"])[0] < 0.9)


def measure(rounds: int) -> dict[str, list[float]]:
    """Good answers a second by variant, round by round."""
    rates: dict[str, list[float]] = {}
    with ExitStack() as stack:
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = stack.enter_context(collector())
        sessions = {}
        for number, name in enumerate(VARIANTS):
            sessions[name] = stack.enter_context(_running(name, PORT + PORT_STEP * number))
            rates[name] = []
        for number in range(rounds):
            # Forwards, then backwards: who comes later in a round has no advantage.
            for name in list(sessions)[:: -1 if number % 2 else 1]:
                sessions[name].singles(CONNECTIONS)
                rates[name].append(sessions[name].results[f"single@{CONNECTIONS}"]["good_per_s"])
            found = ", ".join(f"{name} {rate[-1]:.0f}/s" for name, rate in rates.items())
            print(f"round {number + 1}: {found}", file=sys.stderr)
    return rates


def ratio(rates: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """The geometric mean of the ratios of pairs, and its standard error."""
    logs = [math.log(one / other) for one, other in zip(rates, others, strict=True)]
    mean = math.exp(statistics.fmean(logs))
    return mean, mean * statistics.stdev(logs) / math.sqrt(len(logs))


@contextmanager
def _running(name: str, port: int) -> Iterator[Session]:
    texts, _ = load_texts()
    home = STATE / "run" / f"monitoring-{port}"
    python = environments.prepare("mlserve")
    models_dir = ROOT / "models"
    contender, settings = CONTENDERS["mlserve"], VARIANTS[name]
    if name == FLOWER:
        # `mlserve serve` sends task events where Flower is to show them.
        contender = replace(contender, commands=_with_flower(contender))
    with Running(contender, Place(python, port, home, models_dir, REF, settings)) as running:
        reference = Model(str(models_dir), REF).many
        session = Session(running, texts, Path(text_file(texts)), reference, BURST_S)
        session.check()
        yield session


def _with_flower(contender: Contender) -> Any:
    def commands(place: Place) -> list[Command]:
        return [Command(row.role, [*row.argv, "--flower"]) for row in contender.commands(place)]

    return commands


if __name__ == "__main__":
    sys.exit(main())
