"""Floor. A transformer in a loop: texts sorted by length and cut by a budget, nothing around it."""

import argparse
import json
import os
import time
from pathlib import Path

from app.models import threads
from benchmarks.servers.model import DIRECTORY
from benchmarks.servers.transformer import Transformer


def texts_per_second(
    model: Transformer, texts: list[str], window: int, budget: int, seconds: float
) -> float:
    """How many texts one process classifies when it is given a window of them at a time."""
    done, at, started = 0, 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        if at + window > len(texts):
            at = 0
        done += model.in_pieces(texts[at : at + window], budget)
        at += window
    return done / (time.perf_counter() - started)


def main() -> None:
    """Print one JSON object: texts per second by budget. `--seconds 0`: all texts at once, once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--budgets", type=int, nargs="+", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--window", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    threads.use(options.threads)
    texts: list[str] = json.loads(options.texts.read_text(encoding="utf-8"))
    model, found = Transformer(Path(os.environ[DIRECTORY])), {}
    model.in_pieces(texts[: options.window], options.budgets[0])
    # Other loops may still load theirs.
    print("ready", flush=True)
    input()
    for budget in options.budgets:
        if options.seconds:
            rate = texts_per_second(model, texts, options.window, budget, options.seconds)
        else:
            started = time.perf_counter()
            rate = model.in_pieces(texts, budget) / (time.perf_counter() - started)
        found[budget] = rate
    print(json.dumps(found))


if __name__ == "__main__":
    main()
