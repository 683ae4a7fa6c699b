"""CLI. `mlserve benchmark`: N predictions through the real path, and how long they took."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import click

from app.errors import RequestRefused, ServingError
from cli.options import Call, print_table, verb
from cli.records import column_option
from cli.sources import Source, open_source
from cli.texts import made_up_texts, read_texts, slices


@dataclass
class Measured:
    """What the threads of one run have seen; every method may be called by all of them."""

    latencies_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    seconds: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, texts: int, took_s: float, errors: Counter[str]) -> None:
        """Count one request."""
        with self.lock:
            self.latencies_s.append(took_s)
            self.errors.update(errors)
            self.answered += texts - errors.total()


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("number", metavar="N", type=click.IntRange(1, 10_000_000))
@click.option(
    "--concurrency",
    type=click.IntRange(1, 512),
    default=8,
    show_default=True,
    help="Requests at a time.",
)
@click.option(
    "--batch", type=click.IntRange(1), default=1, show_default=True, help="Texts in each request."
)
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    help="Texts to send: a text a line, or a CSV, TSV or JSON lines.",
)
@column_option
@click.option("--local", is_flag=True, help="Measure the model alone, in this process.")
@verb
def benchmark(  # noqa: PLR0913 - one parameter for each option
    call: Call,
    model: str,
    number: int,
    concurrency: int,
    batch: int,
    path: Path | None,
    column: str | None,
    local: bool,
) -> None:
    """Measure N predictions by MODEL.

    They go over HTTP, Redis and the workers. Made-up texts are new in every run, so that the cache
    answers none of them; those of a file may be known to it. Exit code 1 when a prediction failed.
    """
    if not local and batch > call.settings.limits.max_batch_texts:
        most = call.settings.limits.max_batch_texts
        raise click.UsageError(f"--batch {batch}: limits.max_batch_texts is {most}")
    texts = _texts(number, path, column)
    source = open_source(call.settings, model, local, concurrency)
    source.classify(texts[:1])
    measured = _run(source, list(slices(texts, batch)), concurrency)
    data = {
        "model_version": source.ref,
        "path": "local" if local else "http",
        "concurrency": concurrency,
        "batch": batch,
        **summary(measured),
    }
    call.show(data, lambda: _print(data))
    if measured.errors:
        raise click.exceptions.Exit(1)


def summary(measured: Measured) -> dict[str, Any]:
    """Throughput in texts per second; latencies of requests in milliseconds."""
    ordered = sorted(measured.latencies_s)
    return {
        "predictions": measured.answered,
        "errors": dict(measured.errors),
        "seconds": round(measured.seconds, 3),
        "predictions_per_second": round(measured.answered / measured.seconds, 1),
        "latency_ms": {
            name: round(percentile(ordered, share) * 1000, 3)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
        },
    }


def percentile(ordered: list[float], share: float) -> float:
    """The smallest value that at least `share` of the sorted values do not exceed."""
    rank = -int(-share * len(ordered) // 1)
    return ordered[max(rank, 1) - 1]


def _texts(number: int, path: Path | None, column: str | None) -> list[str]:
    if path is None:
        return list(islice(made_up_texts(seed=time.time_ns()), number))
    given = read_texts(path, column)
    if not given:
        raise click.UsageError(f"{path} has no texts")
    return list(islice(cycle(given), number))


def _run(source: Source, requests: list[list[str]], concurrency: int) -> Measured:
    measured = Measured()
    started = time.perf_counter()
    with _progress(sum(map(len, requests))) as advance, ThreadPoolExecutor(concurrency) as pool:
        try:
            for count in pool.map(lambda texts: _one(source, texts, measured), requests):
                advance(count)
        finally:
            # After Ctrl-C only what is on its way is waited for.
            pool.shutdown(cancel_futures=True)
    measured.seconds = time.perf_counter() - started
    return measured


def _one(source: Source, texts: list[str], measured: Measured) -> int:
    started = time.perf_counter()
    try:
        rows = source.classify(texts)
        errors = Counter(row["error"]["code"] for row in rows if "error" in row)
    except ServingError as error:
        errors = Counter({_code(error): len(texts)})
    measured.add(len(texts), time.perf_counter() - started, errors)
    return len(texts)


def _code(error: ServingError) -> str:
    return str(error.args[0]) if isinstance(error, RequestRefused) else error.code


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = [*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("predictions", total=total)
        yield lambda count: bar.advance(task, count)


def _print(data: dict[str, Any]) -> None:
    latency = data["latency_ms"]
    rows = [
        ("model", data["model_version"]),
        ("path", f"{data['path']}, concurrency {data['concurrency']}, batch {data['batch']}"),
        ("predictions", f"{data['predictions']} in {data['seconds']} s"),
        ("throughput", f"{data['predictions_per_second']} predictions/s"),
        ("latency", f"p50 {latency['p50']}, p95 {latency['p95']}, p99 {latency['p99']} ms"),
        ("errors", ", ".join(f"{n} {code}" for code, n in data["errors"].items()) or "0"),
    ]
    print_table(("figure", "value"), rows)
