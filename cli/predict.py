"""CLI. `mlserve predict`: classify texts from the command line or a file."""

from pathlib import Path

import click

from cli.options import Call, print_table, verb
from cli.sources import Row, open_source
from cli.texts import read_texts

SHOWN_CHARS = 60


@click.command()
@click.argument("texts", nargs=-1, metavar="TEXT...")
@click.option(
    "--model", metavar="REF", help="sentiment-v2, sentiment or v2 (default: default_model)."
)
@click.option(
    "--file", "path", type=click.Path(path_type=Path), help="A text a line, or a CSV or TSV."
)
@click.option("--column", help="The column of the CSV or TSV that has the texts.")
@click.option("--top-k", type=click.IntRange(1), help="Also show the K most likely labels.")
@click.option("--local", is_flag=True, help="Load the model here instead of asking the service.")
@verb
def predict(  # noqa: PLR0913 - one parameter for each option
    call: Call,
    texts: tuple[str, ...],
    model: str | None,
    path: Path | None,
    column: str | None,
    top_k: int | None,
    local: bool,
) -> None:
    """Classify texts; exit code 1 when one of them failed."""
    wanted = [*texts, *(read_texts(path, column) if path else [])]
    if not wanted:
        raise click.UsageError("give at least one TEXT, or --file")
    source = open_source(call.settings, model, local)
    found = source.classify(wanted, top_k)
    data = {"model_version": source.ref, "predictions": found}
    call.show(data, lambda: _print(source.ref, wanted, found))
    if any("error" in row for row in found):
        raise click.exceptions.Exit(1)


def _print(ref: str, texts: list[str], found: list[Row]) -> None:
    rows = [_cells(text, row) for text, row in zip(texts, found, strict=True)]
    print_table(("label", "confidence", "text"), rows)
    click.echo(f"answered by {ref}")


def _cells(text: str, row: Row) -> tuple[str, str, str]:
    if "error" in row:
        return ("-", row["error"]["message"], _shown(text))
    if "scores" in row:
        ranked = ", ".join(f"{item['label']} {item['score']:.4f}" for item in row["scores"])
        return (row["label"], ranked, _shown(text))
    return (row["label"], f"{row['confidence']:.4f}", _shown(text))


def _shown(text: str) -> str:
    clean = "".join(char if char.isprintable() else " " for char in text)
    return clean if len(clean) <= SHOWN_CHARS else f"{clean[: SHOWN_CHARS - 1]}…"
