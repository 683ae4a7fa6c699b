"""CLI. `mlserve list`: the versions on disk, which are active, and which workers hold them."""

import click

from app.fleet import Fleet
from cli.inventory import Row, as_data, look_at_fleet, rows
from cli.options import Call, megabytes, print_table, verb

COLUMNS = ("version", "active", "status", "loaded on", "accuracy", "trained", "memory")


@click.command("list")
@verb
def list_models(call: Call) -> None:
    """List the versions on disk; works without the service."""
    seen = look_at_fleet(call.settings)
    found = rows(call.settings, seen)
    data = {
        "models": as_data(found),
        "workers": {
            "reachable": seen.reachable,
            "reason": seen.reason,
            "hosts": [host.hostname for host in seen.hosts],
        },
    }
    call.show(data, lambda: _print(call.settings.models_dir, found, seen))


def _print(models_dir: str, found: list[Row], seen: Fleet) -> None:
    print_table(COLUMNS, [_cells(row) for row in found])
    for row in found:
        if row.error:
            click.echo(f"{row.ref}: {row.error}")
    if not found:
        click.echo(f"no models in {models_dir}; `mlserve load PATH` or `mlserve train` adds one")
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
