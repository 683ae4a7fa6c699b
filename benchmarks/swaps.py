"""Harness. Swaps under load: failed and mixed answers, how long a swap takes, what it costs others.

    python -m benchmarks.swaps [--quick]

Two API processes and two workers at half of what they can do. First one version and the other in
turns, both held; then with the other one unloaded in between, so that every swap loads a model.
"""

import argparse
import json
import shutil
import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import urllib3

from app.broker import redis_client
from app.contract import HostState
from app.fleet import read
from app.settings import Settings
from benchmarks import wrk
from benchmarks.checking import difference
from benchmarks.contenders import CONTENDERS, Place
from benchmarks.open_loop import Answer, Schedule, run
from benchmarks.paths import ROOT, STATE
from benchmarks.running import Running
from benchmarks.servers.model import Model
from benchmarks.texts import Cursor, Texts, load_texts, text_file
from benchmarks.wrk import Load
from cli.benchmark import percentile

PORT = 19_100
PROCESSES = 2
NAME, VERSIONS = "sentiment", ("v1", "v2")
CONNECTIONS = 16
SHARE = 0.5
# Short, so that a version that was unloaded is dropped soon: it is kept for as long as a request.
REQUEST_TIMEOUT_MS = 1000
RETIRED_S = REQUEST_TIMEOUT_MS / 1000 + 5.0


class Plan(NamedTuple):
    """How much is measured."""

    capacity_s: float
    quiet_s: float
    swaps: int
    loading_swaps: int


FULL = Plan(5.0, 20.0, 60, 12)
QUICK = Plan(2.0, 3.0, 6, 2)


class Swap(NamedTuple):
    """One swap: seconds until the answer, and by worker until it held the version."""

    version: str
    status: int
    took_s: float


class Service:
    """A running mlserve: what is asked of it, and what its workers say of themselves."""

    def __init__(self, running: Running, place: Place) -> None:
        self.url, self._place = running.url, place
        self._http = urllib3.PoolManager(retries=False, timeout=60.0)
        self._redis = redis_client(Settings(state_dir=str(place.home / "state")), timeout_s=5)

    def swap(self, version: str) -> Swap:
        """Make `version` active, and wait until it is."""
        started = time.monotonic()
        path = f"{self.url}/models/{NAME}/swap"
        answer = self._http.request("POST", path, json={"version": version})
        return Swap(version, answer.status, time.monotonic() - started)

    def unload(self, version: str) -> None:
        """Have no worker hold `version`."""
        answer = self._http.request("DELETE", f"{self.url}/models/{NAME}-{version}")
        assert answer.status < 300, answer.data

    def hosts(self) -> list[HostState]:
        """The workers' last heartbeats."""
        return read(self._redis).hosts

    def memory_mb(self) -> float:
        """Resident memory of all workers together."""
        return sum(host.memory_bytes for host in self.hosts()) / (1 << 20)


class Verdict(NamedTuple):
    """What became of all requests of a phase."""

    answers: list[Answer]
    statuses: Counter[int]
    versions: Counter[str]
    wrong: list[str]

    @property
    def p99_ms(self) -> float:
        """Of the time from when a request was due to its answer."""
        took = sorted(answer.took_s for answer in self.answers)
        return percentile(took, 0.99) * 1000

    def line(self, title: str) -> str:
        """For people."""
        failed = sum(self.statuses.values()) - self.statuses[200]
        by_version = ", ".join(f"{ref} {count:,}" for ref, count in sorted(self.versions.items()))
        return (
            f"{title:24} {len(self.answers):7,} requests, {failed} failed, "
            f"{len(self.wrong)} wrong, p99 {self.p99_ms:5.1f} ms ({by_version})"
        )


def judge(answers: list[Answer], texts: Texts, models_dir: Path) -> Verdict:
    """Compare every answer with the bare loop over the version that it names."""
    named: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    for answer in answers:
        if answer.status == 200:
            decoded = json.loads(answer.body)
            named[decoded["model_version"]].append((texts.at(answer.number), decoded))
    wrong: list[str] = []
    for ref, rows in named.items():
        expected = Model(str(models_dir), ref).many([text for text, _ in rows])
        pairs = zip(rows, expected, strict=True)
        wrong += [said for (_, given), want in pairs if (said := difference(200, given, want))]
    statuses = Counter(answer.status for answer in answers)
    return Verdict(answers, statuses, Counter({ref: len(r) for ref, r in named.items()}), wrong)


class Bench:
    """The phases of one run."""

    def __init__(self, plan: Plan, place: Place, service: Service, texts: Texts) -> None:
        self._plan, self._place, self._service, self._texts = plan, place, service, texts
        self._cursor = Cursor()
        self._rate = SHARE * self._capacity()
        print(f"load: {self._rate:,.0f} requests/s, half of what it can do\n")

    def _capacity(self) -> float:
        load = Load("/predict", CONNECTIONS, self._plan.capacity_s, self._cursor.next)
        found = wrk.run(self._service.url, load, text_file(self._texts))
        self._cursor.take(found["texts_used"])
        return float(found["good_per_s"])

    def under_load(self, seconds: float) -> Verdict:
        """Requests at the rate for so long."""
        first = self._cursor.take(int(self._rate * seconds) + 1)
        schedule = Schedule(self._place.port, self._rate, CONNECTIONS, seconds, first)
        return judge(run(schedule, self._texts), self._texts, self._place.models_dir)

    def swapping(self, count: int, every_s: float, unloads: bool) -> tuple[Verdict, list[Swap]]:
        """The same with a swap every so often; with `unloads` each has to load its version."""
        swaps: list[Swap] = []

        def swap_on_time() -> None:
            begin = time.monotonic() + 0.5
            for number in range(count):
                time.sleep(max(0.0, begin + number * every_s - time.monotonic()))
                swaps.append(self._service.swap(VERSIONS[number % 2]))
                if unloads:
                    self._service.unload(VERSIONS[(number + 1) % 2])

        thread = threading.Thread(target=swap_on_time)
        thread.start()
        verdict = self.under_load(count * every_s + 1.0)
        thread.join()
        return verdict, swaps

    def memory_over_loads(self, count: int) -> list[float]:
        """Resident memory of the workers each time that the first version alone is left."""
        found = []
        for number in range(count):
            self._service.swap(VERSIONS[number % 2])
            self._service.unload(VERSIONS[(number + 1) % 2])
            time.sleep(RETIRED_S)
            if number % 2 == 0:
                found.append(self._service.memory_mb())
        return found


def report(title: str, verdict: Verdict, swaps: list[Swap], quiet: Verdict) -> None:
    """Print what a phase with swaps was like."""
    print(verdict.line(title))
    took = sorted(swap.took_s for swap in swaps)
    refused = Counter(swap.status for swap in swaps if swap.status != 200)
    print(f"  {len(swaps)} swaps, {dict(refused) or 'none'} refused", end="; ")
    print(f"median {took[len(took) // 2]:.2f} s, slowest {took[-1]:.2f} s", end="; ")
    print(f"p99 {verdict.p99_ms / quiet.p99_ms:.2f} x that without\n")


def measure(plan: Plan, place: Place) -> None:
    """All phases of one start."""
    texts, source = load_texts()
    print(f"texts of {source}; 2 API processes, {PROCESSES} workers")
    with Running(CONTENDERS["mlserve"], place) as running:
        service = Service(running, place)
        bench = Bench(plan, place, service, texts)
        quiet = bench.under_load(plan.quiet_s)
        print(quiet.line("without swaps"))
        before = service.memory_mb()
        verdict, swaps = bench.swapping(plan.swaps, 1.0, unloads=False)
        report("one swap a second", verdict, swaps, quiet)
        print(f"  workers hold {before:.0f} MB before and {service.memory_mb():.0f} MB after\n")
        every_s = RETIRED_S
        verdict, swaps = bench.swapping(plan.loading_swaps, every_s, unloads=True)
        report(f"loading, every {every_s:.0f} s", verdict, swaps, quiet)
        found = bench.memory_over_loads(plan.loading_swaps)
        grown = max(found) / found[0] - 1
        print(
            f"memory with one version, MB: {', '.join(f'{mb:.0f}' for mb in found)} ({grown:+.1%})"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="does everything work?")
    options = parser.parse_args()
    # Workers write the desired state beside the models: not into those of the project.
    models_dir = STATE / "run" / "swaps-models"
    shutil.rmtree(models_dir, ignore_errors=True)
    for version in VERSIONS:
        shutil.copytree(ROOT / "models" / NAME / version, models_dir / NAME / version)
    (models_dir / "active.json").write_text(json.dumps({NAME: VERSIONS[1]}), encoding="utf-8")
    settings = {
        "server": {"workers": 2},
        "worker": {"processes": PROCESSES},
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
    }
    home = STATE / "run" / "swaps"
    measure(
        QUICK if options.quick else FULL,
        Place(Path(sys.executable), PORT, home, models_dir, NAME, settings),
    )


if __name__ == "__main__":
    main()
