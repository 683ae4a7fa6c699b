"""Floor. The model in a loop: texts per second with N texts in each call, nothing around it."""

import argparse
import json
import time
from pathlib import Path

from benchmarks.servers.model import Model


def texts_per_second(model: Model, texts: list[str], per_call: int, seconds: float) -> float:
    """How many texts one process classifies when it is given `per_call` at a time."""
    done, at, started = 0, 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        if at + per_call > len(texts):
            at = 0
        model.many(texts[at : at + per_call])
        at += per_call
        done += per_call
    return done / (time.perf_counter() - started)


def main() -> None:
    """Print one JSON object: texts per second by texts per call."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    lines = options.texts.read_text(encoding="ascii").splitlines()
    texts = [json.loads(f'"{line}"') for line in lines]
    model = Model()
    found = {n: texts_per_second(model, texts, n, options.seconds) for n in options.sizes}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
