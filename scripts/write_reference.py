"""Writes reference.json into versions that are there already: what `mlserve train` writes at once.

The texts are those of the file that the version was trained on, split by the same rule.
"""

from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from app.models.base import Embedder, Ref
from app.models.catalog import Catalog
from app.models.loader import load
from app.settings import Limits
from app.training.data import Labelled, read
from app.training.reference import measure
from app.training.split import split
from app.training.write import write_reference

ROOT = Path(__file__).resolve().parent.parent
BATCH_TEXTS = 256


def write(models_dir: Path, ref: Ref, training: Labelled, held_out: Labelled) -> int:
    """Write the reference of one version; the number of its held-out texts."""
    entry = Catalog(models_dir, ref.name).get(ref)
    model = load(entry, Limits(), "cpu")
    predictor, extract = model.predictor, model.pipeline.extract
    cleaned = [model.pipeline.clean(text) for text in held_out.texts]
    batches = (cleaned[at : at + BATCH_TEXTS] for at in range(0, len(cleaned), BATCH_TEXTS))
    answers = np.vstack([predictor.predict_proba(extract(batch)) for batch in batches])
    embed = partial(_embed, predictor) if isinstance(predictor, Embedder) else None
    write_reference(entry.path, measure(training, held_out, answers, model.pipeline, embed))
    return len(held_out)


def _embed(predictor: Embedder, features: Any) -> Any:
    return predictor.predict_embedded(features)[1]


@click.command()
@click.argument("refs", nargs=-1, required=True)
@click.option("--data", type=click.Path(path_type=Path), default=ROOT / ".data/sentiment.jsonl")
@click.option("--models-dir", type=click.Path(path_type=Path), default=ROOT / "models")
def main(refs: tuple[str, ...], data: Path, models_dir: Path) -> None:
    """Write the reference of REFS, such as sentiment-v1."""
    training, held_out = split(read(data))
    for ref in refs:
        texts = write(models_dir, Ref.parse(ref), training, held_out)
        click.echo(f"{ref}: a reference of {texts} held-out texts")


if __name__ == "__main__":
    main()
