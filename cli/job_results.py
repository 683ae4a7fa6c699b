"""CLI. `mlserve job results` and `errors`: one row for each text, streamed as they come."""

import json
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from cli.jobs import Jobs, Row, has_ended
from cli.options import Call, verb
from cli.tables import format_of, written

COLUMNS = ("index", "custom_id", "label", "confidence", "truncated", "error")

after_option = click.option(
    "--after", type=click.IntRange(0), metavar="N", help="Begin behind text number N."
)


@click.command()
@click.argument("job_id", metavar="ID")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write them to this CSV, TSV or JSON lines file.",
)
@after_option
@verb
def results(call: Call, job_id: str, output: Path | None, after: int | None) -> None:
    """Print a line of JSON for each text, in the order of submission.

    Of a job that has not ended: as far as there is no gap. Goes on where a connection breaks.
    """
    if output:
        format_of(output)
    jobs, seen = Jobs(call.settings), _Seen(after)
    has_all = has_ended(jobs.read(job_id))
    with closing(jobs.rows(job_id, after)) as rows:
        if output:
            _write(output, seen.passing(rows))
        else:
            _stream(call, seen.passing(rows))
    if output:
        data = {"id": job_id, "rows": seen.rows, "last_index": seen.last, "is_complete": has_all}
        call.show(data, lambda: click.echo(f"{seen.rows} rows written to {output}"))
    if not has_all:
        more = "" if seen.last is None else f" --after {seen.last}"
        click.echo(f"not all yet: `mlserve job results {job_id}{more}` goes on", err=True)


@click.command()
@click.argument("job_id", metavar="ID")
@after_option
@verb
def errors(call: Call, job_id: str, after: int | None) -> None:
    """Print the texts that have no prediction, and why."""
    rows = Jobs(call.settings).rows(job_id, after, "errors")
    if call.as_json:
        _stream(call, rows)
        return
    for row in rows:
        name = f" ({row['custom_id']})" if row.get("custom_id") else ""
        click.echo(f"{row['index']}{name}: {row['error']['code']}: {row['error']['message']}")


class _Seen:
    """Counts rows as they pass."""

    def __init__(self, last: int | None) -> None:
        self.rows, self.last = 0, last

    def passing(self, rows: Iterable[Row]) -> Iterable[Row]:
        for row in rows:
            yield row
            self.rows, self.last = self.rows + 1, row["index"]


def _write(output: Path, rows: Iterable[Row]) -> None:
    # All rows of a table have the same columns.
    empty = {} if format_of(output) == "jsonl" else dict.fromkeys(COLUMNS)
    with written(output) as write:
        for row in rows:
            write(empty | row)


def _stream(call: Call, rows: Iterable[Any]) -> None:
    """A line a row; with --json one document, an array that is never held as a whole."""
    # Not click.echo, which flushes every line.
    write = sys.stdout.write
    separator, count = ",\n" if call.as_json else "\n", 0
    write("[" if call.as_json else "")
    for count, row in enumerate(rows, 1):
        write(f"{separator if count > 1 else ''}{json.dumps(row, ensure_ascii=False)}")
    write("]\n" if call.as_json else "\n" if count else "")
