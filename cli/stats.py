"""CLI. `mlserve stats`: what the service has done since it was started."""

from typing import Any

import click

from cli.client import ServiceClient
from cli.options import Call, megabytes, print_table, verb


@click.command()
@verb
def stats(call: Call) -> None:
    """Show requests, latencies, predictions, queues and workers."""
    found = ServiceClient(call.settings).get("/stats")
    call.show(found, lambda: _print(found))


def _print(found: dict[str, Any]) -> None:
    if found["counts"] is None:
        click.echo("monitoring is disabled: nothing is counted")
    else:
        _print_counts(found["counts"])
    print_table(("queue", "waiting"), [(name, str(n)) for name, n in found["queues"].items()])
    click.echo()
    if not found["redis_reachable"]:
        click.echo("Redis cannot be reached: queues and workers are unknown")
    print_table(("worker", "device", "chunks", "memory", "ready", "failed"), _workers(found))


def _print_counts(counts: dict[str, Any]) -> None:
    rows = [
        ("counting since", f"{counts['uptime_s']:.0f} s ago"),
        ("requests", str(counts["requests"])),
        ("answers by status", _listed(counts["responses"])),
        ("errors by code", _listed(counts["errors"])),
        ("texts by source", _listed(counts["cache"])),
    ]
    print_table(("figure", "value"), rows)
    click.echo()
    print_table(
        ("route", "requests", "p50 ms", "p95 ms", "p99 ms"),
        [
            (row["route"], str(row["requests"]), *(str(row[f"p{p}_ms"]) for p in (50, 95, 99)))
            for row in counts["latency"]
        ],
    )
    click.echo()
    print_table(
        ("version", "label", "texts"),
        [
            (f"{row['model']}-{row['version']}", row["label"], str(row["texts"]))
            for row in counts["predictions"]
        ],
    )
    click.echo()


def _listed(counted: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counted.items()) or "none"


def _workers(found: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            worker["hostname"],
            worker["device"],
            str(worker["chunks"]),
            megabytes(worker["memory_bytes"]),
            ", ".join(worker["ready"]) or "-",
            ", ".join(worker["failed"]) or "-",
        )
        for worker in found["workers"]
    ]
