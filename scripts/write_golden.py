"""Writes golden.jsonl into versions that are there already: what `mlserve train` writes at once.

The texts are the held-out ones of a file of labelled texts, the answers those of the version.
"""

from pathlib import Path

import click
import numpy as np

from app.models.base import Ref
from app.models.catalog import Catalog
from app.models.golden import GOLDEN_FILE, encode
from app.models.loader import load
from app.settings import Limits
from app.training.data import read
from app.training.golden import choose
from app.training.split import split

ROOT = Path(__file__).resolve().parent.parent
BATCH_TEXTS = 256


def write(models_dir: Path, ref: Ref, texts: list[str]) -> int:
    """Write the golden set of one version; the number of its texts."""
    entry = Catalog(models_dir, ref.name).get(ref)
    model = load(entry, Limits(), "cpu")
    cleaned = [model.pipeline.clean(text) for text in texts]
    batches = (cleaned[at : at + BATCH_TEXTS] for at in range(0, len(cleaned), BATCH_TEXTS))
    answers = [model.predictor.predict_proba(model.pipeline.extract(batch)) for batch in batches]
    golden = choose(texts, np.vstack(answers), model.labels)
    (entry.path / GOLDEN_FILE).write_bytes(encode(golden))
    return len(golden)


@click.command()
@click.argument("refs", nargs=-1, required=True)
@click.option("--data", type=click.Path(path_type=Path), default=ROOT / ".data/sentiment.jsonl")
@click.option("--models-dir", type=click.Path(path_type=Path), default=ROOT / "models")
def main(refs: tuple[str, ...], data: Path, models_dir: Path) -> None:
    """Write the golden texts of REFS, such as sentiment-v1."""
    _, held_out = split(read(data))
    for ref in refs:
        click.echo(f"{ref}: {write(models_dir, Ref.parse(ref), held_out.texts)} golden texts")


if __name__ == "__main__":
    main()
