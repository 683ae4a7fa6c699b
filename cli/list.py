"""CLI. `mlserve list`: the versions on disk, which are active, and which workers hold them."""

from typing import Any

import click
import msgspec

from app.contract import HeldModel, HostState
from app.fleet import Fleet
from cli.inventory import Row, as_data, look_at_fleet, rows
from cli.options import Call, megabytes, print_table, verb

COLUMNS = ("version", "active", "status", "loaded on", "accuracy", "trained", "memory")
WORKER_COLUMNS = ("worker", "generation", "process", "version", "status", "memory")


@click.command("list")
@click.option("--workers", is_flag=True, help="By worker: what each one holds or could not load.")
@verb
def list_models(call: Call, workers: bool) -> None:
    """List the versions on disk; works without the service."""
    seen = look_at_fleet(call.settings)
    if workers:
        call.show(_fleet_data(seen) | {"states": _states(seen)}, lambda: _print_workers(seen))
        return
    found = rows(call.settings, seen)
    data = {"models": as_data(found), "workers": _fleet_data(seen)}
    call.show(data, lambda: _print(call.settings.models_dir, found, seen))


def _fleet_data(seen: Fleet) -> dict[str, Any]:
    return {
        "reachable": seen.reachable,
        "reason": seen.reason,
        "generation": seen.desired.generation if seen.desired else None,
        "hosts": [host.hostname for host in seen.hosts],
    }


def _states(seen: Fleet) -> list[Any]:
    states: list[Any] = msgspec.to_builtins(seen.hosts)
    return states


def _print(models_dir: str, found: list[Row], seen: Fleet) -> None:
    print_table(COLUMNS, [_cells(row) for row in found])
    for row in found:
        if row.error:
            click.echo(f"{row.ref}: {row.error}")
    if not found:
        click.echo(f"no models in {models_dir}; `mlserve load PATH` or `mlserve train` adds one")
    _print_absence(seen)


def _print_absence(seen: Fleet) -> None:
    if not seen.reachable:
        click.echo(f"workers are unreachable ({seen.reason}); start them with `mlserve serve`")
    elif not seen.hosts:
        click.echo("no worker is running; start one with `mlserve serve`")


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.ref,
        "default" if row.default else "yes" if row.active else "",
        row.status,
        ", ".join(row.loaded_on) or "-",
        "-" if row.accuracy is None else f"{row.accuracy:.4f}",
        (row.trained_at or "-")[:10],
        "-" if row.memory_bytes is None else megabytes(row.memory_bytes),
    )


def _print_workers(seen: Fleet) -> None:
    if seen.hosts:
        print_table(WORKER_COLUMNS, [row for host in seen.hosts for row in _worker(host, seen)])
    for host in seen.hosts:
        for model in host.models:
            if model.error:
                click.echo(f"{host.hostname}: {model.ref}: {model.error}")
    _print_absence(seen)


def _worker(host: HostState, seen: Fleet) -> list[tuple[str, ...]]:
    wanted = seen.desired.generation if seen.desired else 0
    own = (host.hostname, f"{host.generation} of {wanted}", megabytes(host.memory_bytes))
    said = [_said(model) for model in host.models] or [("-", "-", "-")]
    return [(*(own if at == 0 else ("", "", "")), *row) for at, row in enumerate(said)]


def _said(model: HeldModel) -> tuple[str, ...]:
    memory = megabytes(model.memory_bytes) if model.memory_bytes else "-"
    return (model.ref, model.status, memory)
