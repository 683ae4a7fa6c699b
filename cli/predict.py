"""CLI. `mlserve predict`: classify texts from the command line or a file."""

from pathlib import Path
from typing import Any

import click

from cli.bulk import Task, predict_by_job, predict_locally
from cli.options import Call, model_option, print_table, verb
from cli.records import Source, column_option
from cli.sources import Row, open_source
from cli.texts import read_texts

SHOWN_CHARS = 60
TRUNCATED = " (truncated for the model)"
OUTPUT_ALONE = (
    "--output goes with --file, --column, --model and --local; --job with --file and --output"
)


@click.command()
@click.argument("texts", nargs=-1, metavar="TEXT...")
@model_option
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    help="A text a line, or a CSV, TSV or JSON lines.",
)
@column_option
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the rows of --file with their predictions to this CSV, TSV or JSON lines.",
)
@click.option("--job", "job_id", metavar="ID", help="Write the results of this job to --output.")
@click.option("--top-k", type=click.IntRange(1), help="Also show the K most likely labels.")
@click.option("--local", is_flag=True, help="Load the model here instead of asking the service.")
@verb
def predict(  # noqa: PLR0913 - one parameter for each option
    call: Call,
    texts: tuple[str, ...],
    model: str | None,
    path: Path | None,
    column: str | None,
    output: Path | None,
    job_id: str | None,
    top_k: int | None,
    local: bool,
) -> None:
    """Classify texts; exit code 1 when one of them failed.

    With --output a file of any size, as a job, or with --local in this process.
    """
    if output or job_id:
        if not (output and path) or texts or top_k or (job_id and (local or model)):
            raise click.UsageError(OUTPUT_ALONE)
        _predict_file(call, Task(Source(path, column), output, model, job_id), local)
        return
    wanted = [*texts, *(read_texts(path, column) if path else [])]
    if not wanted:
        said = f"{path} has no texts" if path else "give at least one TEXT, or --file"
        raise click.UsageError(said)
    source = open_source(call.settings, model, local)
    found = source.classify(wanted, top_k)
    data = {"model_version": source.ref, "predictions": found}
    call.show(data, lambda: _print(source.ref, wanted, found))
    if any("error" in row for row in found):
        raise click.exceptions.Exit(1)


def _predict_file(call: Call, task: Task, is_local: bool) -> None:
    found = predict_locally(call, task) if is_local else predict_by_job(call, task)
    call.show(found, lambda: _print_file(found))
    if found["failed"]:
        raise click.exceptions.Exit(1)


def _print_file(found: dict[str, Any]) -> None:
    failed = f", {found['failed']} of them failed" if found["failed"] else ""
    click.echo(f"{found['rows']} rows written to {found['output']}{failed}")
    click.echo(f"answered by {found['model_version']}")


def _print(ref: str, texts: list[str], found: list[Row]) -> None:
    rows = [_cells(text, row) for text, row in zip(texts, found, strict=True)]
    print_table(("label", "confidence", "text"), rows)
    click.echo(f"answered by {ref}")


def _cells(text: str, row: Row) -> tuple[str, str, str]:
    if "error" in row:
        return ("-", row["error"]["message"], _shown(text))
    cut = TRUNCATED if row.get("truncated") else ""
    if "scores" in row:
        ranked = ", ".join(f"{item['label']} {item['score']:.4f}" for item in row["scores"])
        return (row["label"], ranked, _shown(text) + cut)
    return (row["label"], f"{row['confidence']:.4f}", _shown(text) + cut)


def _shown(text: str) -> str:
    clean = "".join(char if char.isprintable() else " " for char in text)
    return clean if len(clean) <= SHOWN_CHARS else f"{clean[: SHOWN_CHARS - 1]}…"
