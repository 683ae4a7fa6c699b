"""CLI. `mlserve train`: from a file of labelled texts to a version that can be served."""

from pathlib import Path
from typing import Any

import click
import msgspec

from app.models.base import NAME_PATTERN, VERSION_PATTERN, Manifest, Ref, check_name
from app.training.recipes import RECIPES
from app.training.split import DEFAULT_SHARE
from cli.load import spread
from cli.options import Call, NumberRange, megabytes, print_table, verb
from cli.rollouts import check


@click.command()
@click.argument("data", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="Name of the model, e.g. sentiment.")
@click.option("--version", required=True, help="Version to write, e.g. v4.")
@click.option("--recipe", required=True, type=click.Choice(list(RECIPES)), help="Kind of model.")
@click.option("--text-column", default="text", show_default=True, help="Column of the texts.")
@click.option("--label-column", default="label", show_default=True, help="Column of the labels.")
@click.option(
    "--held-out",
    type=NumberRange(0, 1, min_open=True, max_open=True),
    default=DEFAULT_SHARE,
    show_default=True,
    help="Share of the texts that is kept out of training, to measure on.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Same seed, same figures.",
)
@click.option("--description", default="", help="A sentence for the model's metadata.")
@click.option(
    "--models-dir", type=click.Path(path_type=Path), help="Instead of the configured one."
)
@verb
def train(
    call: Call, /, data: Path, name: str, version: str, models_dir: Path | None, **options: Any
) -> None:
    """Train a model version from labelled texts.

    DATA is a .csv, .tsv or .jsonl file; the version is written to the models directory, and running
    workers load it. A fixed rule holds out a part of the texts; the figures are measured on that
    part.
    """
    ref = Ref(check_name(name, NAME_PATTERN), check_name(version, VERSION_PATTERN))
    target = models_dir or Path(call.settings.models_dir)
    manifest = _run({"data": data, "ref": ref, "models_dir": target, **options})
    call.show(msgspec.to_builtins(manifest), lambda: _print(manifest, target))
    if target.resolve() == Path(call.settings.models_dir) and (seen := spread(call, ref, None)):
        check(seen)


def _run(options: dict[str, Any]) -> Manifest:
    # Other verbs should not wait for scikit-learn to be imported.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from app.training.run import Plan, run

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=1.0)

        def show(stage: str, done: float) -> None:
            bar.update(task, description=stage, completed=done)

        return run(Plan(**options), show)


def _print(manifest: Manifest, models_dir: Path) -> None:
    measured = manifest.metadata
    rows = [
        (label, f"{row.precision:.4f}", f"{row.recall:.4f}", f"{row.f1:.4f}", str(row.support))
        for label, row in measured.per_class.items()
    ]
    print_table(["label", "precision", "recall", "f1", "held-out texts"], rows)
    size = megabytes(sum(artifact.size_bytes for artifact in manifest.artifacts))
    click.echo(f"\naccuracy {measured.accuracy:.4f}, macro-F1 {measured.macro_f1:.4f}")
    click.echo(f"{manifest.ref}: {size} in {models_dir / manifest.name / manifest.version}")
