"""CLI. What every verb shares: --config, --json, the settings and the ways to print."""

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any

import click

from app import config
from app.config import Loaded
from app.logs import printable
from app.settings import Settings

MAX_WHOLE_CHARS = 20

model_option = click.option(
    "--model", metavar="REF", help="sentiment-v2, sentiment or v2 (default: default_model)."
)


@dataclass(frozen=True)
class Call:
    """One call of a verb: which config file, and whether a machine reads the answer."""

    config_path: str | None
    as_json: bool

    @cached_property
    def loaded(self) -> Loaded:
        """The effective settings and their origins; raises `ConfigError`."""
        return config.load(self.config_path)

    @property
    def settings(self) -> Settings:
        """The effective settings."""
        return self.loaded.settings

    def tell(self, line: str) -> None:
        """Print a line of progress, for people alone."""
        if not self.as_json:
            click.echo(line)

    def show(self, data: Any, human: Callable[[], None]) -> None:
        """Print `data` as one JSON document with --json, else what `human` prints."""
        if self.as_json:
            click.echo(json.dumps(data, ensure_ascii=False))
        else:
            human()


def config_option(function: Callable[..., None]) -> Callable[..., None]:
    """The option --config, which names the config file."""
    option = click.option(
        "--config",
        "config_path",
        type=click.Path(dir_okay=False),
        help="Config file (default: $MLSERVE_CONFIG, else config.yaml).",
    )
    return option(function)


def verb(function: Callable[..., None]) -> Callable[..., None]:
    """Give a verb --config and --json, and its function the `Call` as first argument."""

    @wraps(function)
    def run(config_path: str | None, as_json: bool, **options: Any) -> None:
        inherited = click.get_current_context().obj
        function(Call(config_path or inherited, as_json), **options)

    json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    return config_option(json_option(run))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A rich table on a terminal, aligned plain text elsewhere.

    What stands in a cell may come from anybody.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(columns, rows)
        return
    lines = [[column.upper() for column in columns], *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        padded = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo(padded.rstrip())


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for i, column in enumerate(columns):
        # Names, dates and figures stay whole: what is cut off cannot be copied.
        is_short = all(len(row[i]) <= MAX_WHOLE_CHARS for row in rows)
        table.add_column(column, no_wrap=is_short, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(markup=False, highlight=False).print(table)


class NumberRange(click.FloatRange):
    """A range of numbers. What is no number, nan, is below and above no limit: it is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; a wrong one is wrong usage."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


def reason(error: OSError) -> str:
    """What the system says, and of which file: `/nodir/x: No such file or directory`."""
    said = error.strerror or str(error)
    return f"{error.filename}: {said}" if error.filename else said


def megabytes(size_bytes: int) -> str:
    """A size for people: `4.2 MB`."""
    return f"{size_bytes / 1e6:.1f} MB"
