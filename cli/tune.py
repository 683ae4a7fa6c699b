"""CLI. `mlserve tune`: which size of batches is the fastest one here, for the manifest."""

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.models import threads
from app.models.catalog import MANIFEST_FILE, Catalog, Entry
from cli.options import Call, NumberRange, print_table, verb
from cli.records import Source, column_option
from cli.texts import WORDS

if TYPE_CHECKING:
    from app.models.loader import LoadedModel
    from app.models.tuning import Curve

MADE_UP_TEXTS = 2000
MAX_TEXTS = 20_000
# Fewer words than these would make texts that are all alike.
MIN_WORDS = 20


@dataclass(frozen=True)
class Tuned:
    """What was found; `before` is the size that was set, `written` whether the manifest changed."""

    entry: Entry
    device: str
    texts: str
    before: int
    written: bool
    curve: "Curve"


@click.command()
@click.argument("model", metavar="MODEL")
@click.option(
    "--file",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Texts as yours are: a line each, CSV, TSV or JSON lines.",
)
@column_option
@click.option(
    "--seconds",
    type=NumberRange(0.1, 3600),
    default=20.0,
    show_default=True,
    help="How long to measure, about.",
)
@click.option("--dry-run", is_flag=True, help="Measure only; write nothing.")
@verb
def tune(
    call: Call, model: str, path: Path | None, column: str | None, seconds: float, dry_run: bool
) -> None:
    """Find the batch budget with which MODEL is fastest.

    Measures on this machine and device, with the threads of a worker, how many texts a second
    batches of each size reach, and writes the smallest budget within 2 % of the best into the
    manifest. Without --file the texts are made up: 80 % short, 20 % long.
    """
    found = _tune(call, model, _read(path, column), seconds, dry_run)
    call.show(_data(found), lambda: _print(found))


def _read(path: Path | None, column: str | None) -> list[str]:
    if path is None:
        return []
    records = Source(path, column).records()
    texts = [record.text for record in islice(records, MAX_TEXTS) if not record.is_blank]
    if not texts:
        raise click.UsageError(f"{path} has no texts")
    return texts


def _tune(call: Call, model: str, texts: list[str], seconds: float, dry_run: bool) -> Tuned:
    settings = call.settings
    catalog = Catalog(settings.models_dir, settings.default_model)
    entry = catalog.get(catalog.resolve(model))
    # As a worker has them; read when the model libraries are imported, which is now.
    for variable, value in threads.ONE_NATIVE_THREAD.items():
        os.environ.setdefault(variable, value)
    from app.models.device import choose
    from app.models.loader import load
    from app.models.tuning import mixture
    from app.models.tuning import tune as measure

    threads.use(threads.threads_of(settings.worker))
    loaded = load(entry, settings.limits, choose(settings.worker.device))
    source = "file"
    if not texts:
        source, words = _words(entry, loaded)
        texts = mixture(words, MADE_UP_TEXTS)
    call.tell(f"measuring {entry.ref} on the {loaded.device} for about {seconds:g} s ...")
    curve = measure(loaded, texts, seconds, settings.max_batch_size)
    before = loaded.manifest.batching.max_batch_tokens
    before = before if curve.counts_tokens else settings.max_batch_size
    is_new = curve.counts_tokens and curve.best != before and not dry_run
    if is_new:
        _write(entry, loaded, curve.best)
    return Tuned(entry, loaded.device, source, before, is_new, curve)


def _words(entry: Entry, loaded: "LoadedModel") -> tuple[str, list[str]]:
    from app.models.loader import read_golden

    golden = " ".join(row.text for row in read_golden(entry, loaded.labels)).split()
    if len(set(golden)) < MIN_WORDS:
        return "made up from a word list", WORDS.split()
    return "made up from the words of the golden texts", golden


def _write(entry: Entry, loaded: "LoadedModel", tokens: int) -> None:
    from app.models.manifest_file import set_max_batch_tokens

    try:
        set_max_batch_tokens(entry.path, tokens)
    except OSError as error:
        said = f"{entry.path / MANIFEST_FILE}: {error.strerror}; max_batch_tokens would be {tokens}"
        raise click.ClickException(said) from error


def _data(found: Tuned) -> dict[str, Any]:
    curve = found.curve
    return {
        "model_version": str(found.entry.ref),
        "device": found.device,
        "texts": found.texts,
        "window_texts": curve.window_texts,
        "setting": "max_batch_tokens" if curve.counts_tokens else "max_batch_size",
        "curve": [
            {
                "size": point.size,
                "texts_per_s": round(point.texts_per_s, 1),
                "padding_share": round(point.padding_share, 4),
                "batch_ms": round(point.batch_ms, 3),
            }
            for point in curve.points
        ],
        "unmeasured": curve.unmeasured,
        "best": curve.best,
        "before": found.before,
        "written": found.written,
    }


def _print(found: Tuned) -> None:
    curve = found.curve
    rows = [
        (
            str(point.size),
            f"{point.texts_per_s:.1f}",
            f"{point.padding_share:.1%}" if curve.counts_tokens else "-",
            f"{point.batch_ms:.1f}",
            "best" if point.size == curve.best else "",
        )
        for point in curve.points
    ]
    unit = "budget" if curve.counts_tokens else "texts a batch"
    print_table((unit, "texts/s", "padding", "ms a batch", ""), rows)
    if curve.unmeasured:
        sizes = ", ".join(map(str, curve.unmeasured))
        click.echo(f"not measured: {sizes} (no memory, or no time: --seconds)")
    click.echo(f"texts: {found.texts}, {curve.window_texts} at a time")
    click.echo(_verdict(found))


def _verdict(found: Tuned) -> str:
    best, before, ref = found.curve.best, found.before, found.entry.ref
    if not found.curve.counts_tokens:
        return f"{ref} counts texts: max_batch_size in config.yaml ({before}) is the setting"
    if best == before:
        return f"max_batch_tokens of {ref} is {best} already"
    if not found.written:
        return f"max_batch_tokens of {ref} is {before}; {best} would be better"
    written = (
        f"max_batch_tokens: {best} (was {before}) written to {found.entry.path}/{MANIFEST_FILE}"
    )
    return f"{written}\nworkers that hold {ref} load it again by themselves"
