"""Harness. Twice of what mlserve can do: what is answered in time, and what becomes of the rest.

    python -m benchmarks.overload [--quick]

With the sample model, and with a transformer and texts of mixed length, which cost fifty times as
much. At last a floor: the sample model at its peak, beside a flood of as many requests as it would
have to refuse, which an empty handler answers in the same HTTP server: no code refuses for less.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import transformers, wrk
from benchmarks.contenders import CONTENDERS, EMPTY, Place
from benchmarks.environments import prepare
from benchmarks.medians import over_rounds
from benchmarks.mixed import MixedTexts
from benchmarks.paths import ROOT, STATE
from benchmarks.running import Running
from benchmarks.scenarios import Session, best_rate
from benchmarks.texts import load_texts, text_file
from benchmarks.wrk import Load

PORT = 19_700
REF = "sentiment-v2"
MIXED_TEXTS = 20_000
# Where each does most.
PEAK_CONNECTIONS = {REF: 256, transformers.REF: 64}
# What has to be refused at twice the peak if 0.9 of it is to be answered.
REFUSED_SHARE = 1.1
FLOOD_CONNECTIONS = 128
COLUMNS = {
    "peak_per_s": ",.0f",
    "in_time_to_peak": ".2f",
    "refused_p99_ms": ",.0f",
    "slip_ms": ",.0f",
    "failed": ",.0f",
}
HEAD = "| | peak, texts/s | in time, of the peak | refused, p99 ms | sent late, ms | failed |"

Found = dict[str, Any]


class Plan(NamedTuple):
    """How long each load lasts, and how often all of them are measured."""

    rounds: int
    fast_s: float
    slow_s: float


FULL = Plan(3, 4.0, 20.0)
QUICK = Plan(1, 2.0, 8.0)


@contextmanager
def serving(python: Path, ref: str, models_dir: Path, seconds: float) -> Iterator[Session]:
    """mlserve with its defaults, warm."""
    texts, _ = load_texts()
    file = text_file(texts)
    if ref == transformers.REF:
        file = MixedTexts(texts).write(STATE / "mixed.txt", MIXED_TEXTS)
    place = Place(python, PORT, STATE / "run" / f"overload-{ref}", models_dir, ref)
    with Running(CONTENDERS["mlserve"], place) as running:
        session = Session(running, texts, file, None, seconds)
        session.warm_up()
        session.singles(PEAK_CONNECTIONS[ref])
        yield session


def sample(plan: Plan) -> Found:
    """The sample model, asked for twice its peak."""
    with serving(prepare("mlserve"), REF, ROOT / "models", plan.fast_s) as session:
        session.overload()
        return dict(session.results["overload"])


def transformer(plan: Plan) -> Found:
    """The same with a transformer; of every five texts, one is long."""
    python, ref = transformers.prepare(), transformers.REF
    with serving(python, ref, transformers.MODELS_DIR, plan.slow_s) as session:
        session.overload()
        return dict(session.results["overload"])


def floor(plan: Plan) -> Found:
    """What the sample model answers of its peak while a handler that computes nothing refuses."""
    python, models_dir, seconds = prepare("mlserve"), ROOT / "models", plan.fast_s
    empty = Place(python, PORT + 10, STATE / "run" / "overload-empty", models_dir, REF)
    with (
        serving(python, REF, models_dir, seconds) as session,
        Running(EMPTY["empty-asgi"], empty) as handler,
        ThreadPoolExecutor(1) as pool,
    ):
        peak = best_rate(session.results)
        rate = round(REFUSED_SHARE * peak)
        # Longer than what it is beside.
        flood = Load("/predict", FLOOD_CONNECTIONS, seconds + 1, 0, rate=rate)
        flooding = pool.submit(wrk.run, handler.url, flood, session.text_file)
        session.results.clear()
        session.singles(PEAK_CONNECTIONS[REF])
        refused = flooding.result()
        return {
            "peak_per_s": peak,
            "in_time_to_peak": best_rate(session.results) / peak,
            "refused_p99_ms": refused["p99_ms"],
            "slip_ms": refused["slip_ms"],
            "failed": wrk.failures(refused),
        }


ROWS: dict[str, Callable[[Plan], Found]] = {
    f"{REF}, twice its peak": sample,
    f"{transformers.REF}, mixed lengths, twice its peak": transformer,
    f"floor: {REF} at its peak, refusals by an empty handler": floor,
}


def markdown(rounds: list[dict[str, dict[str, Found]]]) -> str:
    """The page: medians of all rounds, and the sum of what failed."""
    lines = [HEAD, "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for name, found in over_rounds(rounds).items():
        cells = [format(found["found"].get(key, 0.0), form) for key, form in COLUMNS.items()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="does everything work?")
    plan = QUICK if parser.parse_args().quick else FULL
    wrk.allow_many_files()
    rounds: list[dict[str, dict[str, Found]]] = []
    for number in range(1, plan.rounds + 1):
        rounds.append({})
        for name, measure in ROWS.items():
            found = measure(plan)
            rounds[-1][name] = {"found": found}
            said = f"{name}: {found['in_time_to_peak']:.3f}"
            print(f"round {number} of {plan.rounds}: {said}", file=sys.stderr, flush=True)
    print(markdown(rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
