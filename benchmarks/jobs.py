"""Harness. Bulk jobs: how fast, what they cost those who wait for an answer, and how much memory.

    python -m benchmarks.jobs [--quick]

Everything is measured in one run, in turns: two plain loops over the same model with 1,000 texts a
call, a job; single texts without and beside a job; memory during a small and a large job.
"""

import argparse
import json
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import urllib3

from app.broker import make_celery, redis_client
from app.clock import RedisClock
from app.contract import JOB_QUEUES
from app.dispatch import Dispatcher
from app.jobs.chunks import Chunks
from app.jobs.ledger import Ledger
from app.jobs.records import Job, JobSpec
from app.jobs.submission import Submission
from app.models.base import Ref
from app.models.catalog import Catalog
from app.settings import Settings
from benchmarks.contenders import CONTENDERS, Place
from benchmarks.floors import bare_loop
from benchmarks.paths import ROOT, STATE
from benchmarks.running import Running
from benchmarks.texts import Texts, load_texts
from cli.benchmark import percentile

PORT = 18_900
PROCESSES = 2
TEXTS_PER_CALL = 1000
CALLERS = 4
REQUESTS_PER_S = 60.0


class Plan(NamedTuple):
    """How much is measured."""

    rounds: int
    loop_s: float
    job_texts: int
    latency_s: float
    small_texts: int
    large_texts: int


FULL = Plan(3, 6.0, 200_000, 15.0, 20_000, 1_000_000)
QUICK = Plan(1, 2.0, 20_000, 4.0, 5_000, 50_000)


class Jobs:
    """Submits jobs to a running mlserve through its Redis."""

    def __init__(self, place: Place, texts: Texts) -> None:
        settings = Settings(models_dir=str(place.models_dir), state_dir=str(place.home / "state"))
        client = redis_client(settings, timeout_s=5)
        clock = RedisClock()
        clock.sync(client)
        self._ledger = Ledger(client, settings.jobs, clock.now)
        self._dispatcher = Dispatcher(make_celery(settings, "api"), Chunks(self._ledger))
        self._texts = texts
        manifest = Catalog(settings.models_dir, place.ref).get(Ref.parse(place.ref)).manifest
        assert manifest is not None
        queue = JOB_QUEUES["cpu"]
        self._spec = JobSpec(
            ref=place.ref, digest=manifest.untuned_digest, labels=manifest.labels, queue=queue
        )

    def submit(self, count: int) -> str:
        """The id of an accepted job of so many texts."""
        with Submission(self._ledger, self._spec) as submission:
            for number in range(count):
                submission.add(self._texts.at(number))
            job = submission.seal()
        self._dispatcher.pump(job.id, job.spec)
        return job.id

    def wait(self, job_id: str) -> Job:
        """The job when it has ended."""
        while not (job := self._ledger.read(job_id)).has_ended:
            time.sleep(0.05)
        assert job.counts.succeeded == job.counts.total, job
        return job

    def texts_per_s(self, count: int) -> float:
        """What a job of `count` texts reaches from being accepted to its end."""
        job = self.wait(self.submit(count))
        assert job.ended_at is not None
        assert job.submitted_at is not None
        return count / (job.ended_at - job.submitted_at)

    def cancel(self, job_id: str) -> None:
        """End a job, whatever of it is left."""
        self._ledger.cancel(job_id)


def latencies_ms(url: str, texts: Texts, seconds: float) -> list[float]:
    """Sorted milliseconds of single texts, each a new one, at `REQUESTS_PER_S` from `CALLERS`."""
    found: list[float] = []
    stop_at = time.perf_counter() + seconds

    def call(caller: int) -> None:
        every_s = CALLERS / REQUESTS_PER_S
        due = time.perf_counter() + random.random() * every_s
        with urllib3.PoolManager(retries=False, timeout=10.0) as http:
            while (now := time.perf_counter()) < stop_at:
                time.sleep(max(0.0, due - now))
                due += every_s
                text = f"{texts.at(random.randrange(len(texts)))} {random.random()}"
                started = time.perf_counter()
                answer = http.request("POST", f"{url}/predict", json={"text": text})
                found.append((time.perf_counter() - started) * 1000)
                assert answer.status == 200, answer.data

    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found)


def throughput(plan: Plan, place: Place, texts: Texts, jobs: Jobs) -> None:
    """A job against plain loops, in turns."""
    file = STATE / "job-texts.txt"
    # As many as a job has: a loop over few texts would find them all in the processor's caches.
    lines = (json.dumps(texts.at(number))[1:-1] for number in range(plan.job_texts))
    file.write_text("\n".join(lines), encoding="ascii")
    jobs.texts_per_s(plan.small_texts)  # the workers learn their pace
    ratios = []
    for _ in range(plan.rounds):
        size = str(TEXTS_PER_CALL)
        loops = bare_loop(place, file, plan.loop_s, PROCESSES, (TEXTS_PER_CALL,))
        bare = loops["texts_per_s"][size]
        job = jobs.texts_per_s(plan.job_texts)
        ratios.append(job / bare)
        print(f"  plain loops {bare:8,.0f} texts/s   job {job:8,.0f} texts/s   {job / bare:.1%}")
    print(f"throughput: median {statistics.median(ratios):.1%} of two plain loops\n")


def latency(plan: Plan, url: str, texts: Texts, jobs: Jobs) -> None:
    """Single texts without and beside a job, in turns."""
    ratios = []
    for _ in range(plan.rounds):
        without = latencies_ms(url, texts, plan.latency_s)
        job_id = jobs.submit(plan.large_texts)
        beside = latencies_ms(url, texts, plan.latency_s)
        jobs.cancel(job_id)
        ratios.append(percentile(beside, 0.99) / percentile(without, 0.99))
        for name, found in (("without", without), ("beside a job", beside)):
            middle, late = percentile(found, 0.5), percentile(found, 0.99)
            print(f"  {name:13} p50 {middle:6.1f}  p99 {late:6.1f}  max {found[-1]:6.1f} ms")
    print(f"latency: p99 beside a job is {statistics.median(ratios):.1f} times that without\n")


def memory(plan: Plan, running: Running, jobs: Jobs) -> None:
    """The largest resident memory of each process during a small and a large job."""
    for count in (plan.small_texts, plan.large_texts):
        largest = watch(running, lambda count=count: jobs.texts_per_s(count))
        rows = (f"{role} {size >> 20} MB" for role, size in sorted(largest.items()))
        print(f"  {count:9,} texts   {'   '.join(rows)}")


def watch(running: Running, action: Callable[[], object]) -> dict[str, int]:
    """The most bytes that a process of each role held while `action` ran."""
    largest: dict[str, int] = {}
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.25):
            for process in running.usage().processes.values():
                largest[process.role] = max(largest.get(process.role, 0), process.rss_bytes)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        action()
    finally:
        done.set()
        thread.join()
    return largest


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="does everything work?")
    parser.add_argument("--ref", default="sentiment-v2")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    texts, source = load_texts()
    place = Place(
        python=Path(sys.executable),
        port=PORT,
        home=STATE / "run" / "jobs",
        models_dir=ROOT / "models",
        ref=options.ref,
        settings={"worker": {"processes": PROCESSES}},
    )
    print(f"{options.ref}, texts of {source}")
    mlserve = CONTENDERS["mlserve"]
    with ExitStack() as stack:
        running = stack.enter_context(Running(mlserve, place))
        jobs = Jobs(place, texts)
        throughput(plan, place, texts, jobs)
        latency(plan, running.url, texts, jobs)
        memory(plan, running, jobs)


if __name__ == "__main__":
    main()
