"""Writes the held-out counts into reference.json of versions that are there already.

`mlserve train` writes them at once. The texts are the held-out ones of a file of labelled texts,
the answers those of the version. Nothing else of the version changes.
"""

from pathlib import Path

import click
import msgspec
import numpy as np

from app.models.base import Ref
from app.models.catalog import Catalog
from app.models.loader import load
from app.models.reference import REFERENCE_FILE, Reference
from app.models.tally import Tally
from app.settings import Limits
from app.training.data import Labelled, read
from app.training.reference import quality
from app.training.split import split
from app.training.write import write_reference

ROOT = Path(__file__).resolve().parent.parent
BATCH_TEXTS = 256


def write(models_dir: Path, ref: Ref, held_out: Labelled) -> Tally:
    """Write the counts of one version, and return them."""
    entry = Catalog(models_dir, ref.name).get(ref)
    model = load(entry, Limits(), "cpu")
    cleaned = [model.pipeline.clean(text) for text in held_out.texts]
    batches = (cleaned[at : at + BATCH_TEXTS] for at in range(0, len(cleaned), BATCH_TEXTS))
    answers = [model.predictor.predict_proba(model.pipeline.extract(batch)) for batch in batches]
    counted = quality(held_out, np.vstack(answers), model.labels)
    file = entry.path / REFERENCE_FILE
    known = msgspec.json.decode(file.read_bytes(), type=Reference)
    write_reference(entry.path, msgspec.structs.replace(known, quality=counted))
    return counted


@click.command()
@click.argument("refs", nargs=-1, required=True)
@click.option("--data", type=click.Path(path_type=Path), default=ROOT / ".data/sentiment.jsonl")
@click.option("--models-dir", type=click.Path(path_type=Path), default=ROOT / "models")
def main(refs: tuple[str, ...], data: Path, models_dir: Path) -> None:
    """Write the held-out counts of REFS, such as sentiment-v1."""
    _, held_out = split(read(data))
    for ref in refs:
        counted = write(models_dir, Ref.parse(ref), held_out)
        click.echo(f"{ref}: {counted.hits} of {counted.texts} right")


if __name__ == "__main__":
    main()
