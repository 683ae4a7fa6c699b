"""Harness. Drift: how often windows of known texts are called drifted, and windows of others not.

    python -m benchmarks.drift [--recipe tfidf-logreg] [--splits 3]

A version learns from film reviews. Windows are drawn from film reviews that are neither in its
training part nor in its reference, and from editorials, tweets and product reviews.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from app.models import reference
from app.models.base import Manifest, Ref
from app.models.catalog import Entry
from app.models.loader import LoadedModel, load
from app.monitoring.drift.verdict import judge
from app.monitoring.drift.windows import Window
from app.settings import Drift, Limits
from app.training.run import Plan, run
from benchmarks.paths import ROOT

DATA = ROOT / ".data" / "sentiment.jsonl"
HOME = "movieReviewSnippets"
SIZES = (50, 200, 500, 1000, 2000)
# The smallest windows that drift.min_samples can ask for are looked at too.
SETTINGS = Drift(min_samples=SIZES[0])
WINDOWS = 200
FRESH_SHARE = 0.3
BATCH_TEXTS = 256

Row = Mapping[str, str]


class Subject(NamedTuple):
    """A trained version and where it is."""

    model: LoadedModel
    reference: reference.Reference


def train(rows: Iterable[Row], recipe: str, directory: Path) -> Subject:
    """A version that learned from `rows`, four fifths of them; its reference is of the rest."""
    data = directory / "rows.jsonl"
    data.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    plan = Plan(data=data, ref=Ref("home", "v1"), recipe=recipe, models_dir=directory)
    manifest: Manifest = run(plan, lambda stage, share: None)
    folder = directory / "home" / "v1"
    known = reference.read(folder, manifest)
    assert known is not None
    return Subject(
        load(Entry(manifest.ref, folder, manifest, None), Limits(), "cpu"), known.reference
    )


def places(model: LoadedModel, texts: Sequence[str]) -> Any:
    """Where a worker counts each text: an array (features, texts)."""
    assert model.measures is not None
    found = []
    for start in range(0, len(texts), BATCH_TEXTS):
        batch = texts[start : start + BATCH_TEXTS]
        cleaned = [model.pipeline.clean(text) for text in batch]
        features, embedded = model.pipeline.extract(cleaned), None
        if model.embedder is not None:
            probabilities, embedded = model.embedder.predict_embedded(features)
        else:
            probabilities = model.predictor.predict_proba(features)
        found.append(model.measures.places(batch, cleaned, probabilities, embedded))
    return np.concatenate(found, axis=1)


def verdicts(subject: Subject, found: Any, size: int, windows: int, seed: int) -> Counter[str]:
    """The verdicts on windows of `size` texts, drawn without putting back from `found`."""
    model, draws = subject.model, np.random.default_rng(seed)
    assert model.measures is not None
    said: Counter[str] = Counter()
    for _ in range(windows):
        chosen = draws.choice(found.shape[1], size, replace=False)
        window = Window()
        window.add(model.measures.by_feature(model.measures.count(found[:, chosen])))
        said[judge(subject.reference, model.labels, window, SETTINGS)[0]] += 1
    return said


def is_fresh(text: str, split: int) -> bool:
    """Whether a text of the home domain is kept from training and reference, by its digest."""
    digest = hashlib.sha256(f"{split}:{text}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < FRESH_SHARE * 2**64


def study(
    rows: Sequence[Row],
    recipe: str,
    split: int,
    windows: int = WINDOWS,
    sizes: Sequence[int] = SIZES,
) -> dict[str, dict[int, Counter[str]]]:
    """Verdicts by source of the texts and size of the window, for one way to split the data.

    `rows` have `text`, `label` and `source`, which is `HOME` for the domain that is learned.
    """
    home = [row for row in rows if row["source"] == HOME]
    by_source: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row["source"] != HOME or is_fresh(row["text"], split):
            by_source[row["source"]].append(row["text"])
    with tempfile.TemporaryDirectory() as directory:
        learned = [row for row in home if not is_fresh(row["text"], split)]
        subject = train(learned, recipe, Path(directory))
    found = {source: places(subject.model, texts) for source, texts in by_source.items()}
    return {
        source: {size: verdicts(subject, where, size, windows, split) for size in sizes}
        for source, where in found.items()
    }


def main(arguments: Sequence[str]) -> None:
    """Print a table of shares, over all splits together."""
    parser = argparse.ArgumentParser(prog="benchmarks.drift")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--recipe", default="tfidf-logreg")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--windows", type=int, default=WINDOWS)
    options = parser.parse_args(arguments)
    lines = options.data.read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    total: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for split in range(options.splits):
        for source, by_size in study(rows, options.recipe, split, options.windows).items():
            for size, said in by_size.items():
                total[source, size] += said
    print(f"{options.recipe}, {options.splits} splits, {options.windows} windows of each")
    print("| texts of | window | ok | warn | alarm |")
    print("|---|---|---|---|---|")
    for (source, size), said in total.items():
        shares = (f"{said[verdict] / said.total():.1%}" for verdict in ("ok", "warn", "alarm"))
        print(f"| {source} | {size} | {' | '.join(shares)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
