"""CLI. `mlserve feedback`: true labels from a file, and what they say of a version."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from app.errors import RequestRefused
from cli.client import ServiceClient
from cli.labels import IS_OFF, Sent, Totals, has_no_route, send
from cli.options import Call, print_table, verb
from cli.records import Source

COLUMN = "prediction_id"
EITHER = "give a FILE, or --show"


@click.command()
@click.argument("path", type=click.Path(path_type=Path), required=False, metavar="[FILE]")
@click.option("--column", default=COLUMN, show_default=True, help="The column or key of the ids.")
@click.option("--label-column", default="label", show_default=True, help="That of the true labels.")
@click.option("--show", "model", metavar="MODEL", help="How good a version is by its feedback.")
@verb
def feedback(
    call: Call, path: Path | None, column: str, label_column: str, model: str | None
) -> None:
    """Give the true labels of predictions, from a CSV, TSV or JSON lines.

    The same file again changes nothing. Exit code 1 when a row was refused.
    """
    if (path is None) == (model is None):
        raise click.UsageError(EITHER)
    if model is not None:
        _show(call, model)
    elif path is not None:
        _send(call, Source(path, column), label_column)


def _send(call: Call, source: Source, label_column: str) -> None:
    totals = Totals()
    send(call.settings, source, label_column, _reporter(call, totals))
    call.show(totals.as_data(), lambda: _print_totals(totals))
    if totals.refused:
        raise click.exceptions.Exit(1)


def _reporter(call: Call, totals: Totals) -> Any:
    def add(sent: Sent) -> None:
        if totals.add(sent):
            call.tell(f"{totals.rows} rows sent")

    return add


def _print_totals(totals: Totals) -> None:
    counted = (f"{count} {outcome}" for outcome, count in totals.outcomes.items())
    refused = f", {totals.refused} refused" if totals.refused else ""
    click.echo(f"{totals.rows} rows: {', '.join(counted)}{refused}")
    for reason, (count, first) in totals.reasons.items():
        click.echo(f"{count} times, first in row {first}: {reason}")


def _show(call: Call, model: str) -> None:
    path = f"/models/{quote(model, safe='')}/performance"
    try:
        found = ServiceClient(call.settings).get(path)
    except RequestRefused as error:
        # What cannot be a name has no route either.
        if has_no_route(error) and "/" not in model and model.strip("."):
            raise click.ClickException(IS_OFF) from error
        raise
    call.show(found, lambda: print_performance(found))


def print_performance(found: dict[str, Any]) -> None:
    """Each figure of each window, and the verdict."""
    print_table(
        ("window", "texts", "figure", "live", "reference", "difference", "verdict"),
        [
            (_span(window["seconds"]), str(window["texts"]), *_cells(figure))
            for window in found["windows"]
            for figure in window["figures"]
        ],
    )
    click.echo(f"{found['model_version']}: {found['verdict']}")


def _cells(figure: dict[str, Any]) -> tuple[str, ...]:
    low, high = figure["low"], figure["high"]
    between = "-" if low is None else f"{low:+.4f} to {high:+.4f}"
    values = (_number(figure["live"]), _number(figure["reference"]))
    return (figure["name"], *values, between, figure["verdict"])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _span(seconds: int | None) -> str:
    if seconds is None:
        return "all"
    return f"{seconds // 3600} h" if seconds % 3600 == 0 else f"{seconds} s"
