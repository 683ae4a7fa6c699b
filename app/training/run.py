"""Worker process. One training run: read, split, train, measure, write."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from app.models.base import Manifest, Metadata, Ref, TrainingData
from app.models.manifest_file import pin
from app.training import golden, reference
from app.training.data import Dataset, Labelled, read
from app.training.evaluate import Figures, evaluate
from app.training.recipes import Progress, Trained, recipe
from app.training.split import DEFAULT_SHARE, split
from app.training.write import write

# So many texts are predicted at a time while the figures are measured.
BATCH_TEXTS = 256
MEASURING = "measuring on the held-out part"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to train from what; `held_out` is the share of texts that are kept for measuring."""

    data: Path
    ref: Ref
    recipe: str
    models_dir: Path
    text_column: str = "text"
    label_column: str = "label"
    seed: int = 0
    held_out: float = DEFAULT_SHARE
    description: str = ""


def run(plan: Plan, progress: Progress) -> Manifest:
    """Train and write one version; returns its manifest with the held-out figures.

    Raises `TrainingDataInvalid` and, where the version exists with other content, `VersionExists`.
    """
    dataset = read(plan.data, plan.text_column, plan.label_column)
    training, held_out = split(dataset, plan.held_out)
    trained = recipe(plan.recipe).train(training, plan.seed, progress)
    progress(MEASURING, 0.95)
    probabilities = _predict(trained, held_out.texts)
    figures = evaluate(probabilities, held_out.labels, training.names())
    manifest = _manifest(plan, dataset, (training, held_out), trained, figures)
    measured = reference.measure(training, held_out, probabilities, trained.pipeline, trained.embed)
    known = golden.choose(held_out.texts, probabilities, manifest.labels)
    write(plan.models_dir, manifest, trained.artifacts, measured, known)
    progress("done", 1.0)
    return manifest


def _predict(trained: Trained, texts: Sequence[str]) -> Any:
    """Probabilities (n, labels) by the same steps, in the same order, as in serving."""
    cleaned = [trained.pipeline.clean(text) for text in texts]
    batches = (cleaned[at : at + BATCH_TEXTS] for at in range(0, len(cleaned), BATCH_TEXTS))
    return np.vstack([trained.predict_proba(trained.pipeline.extract(batch)) for batch in batches])


def _manifest(
    plan: Plan,
    dataset: Dataset,
    parts: tuple[Labelled, Labelled],
    trained: Trained,
    figures: Figures,
) -> Manifest:
    training, held_out = parts
    metadata = Metadata(
        accuracy=figures.accuracy,
        macro_f1=figures.macro_f1,
        per_class=figures.per_class,
        trained_at=datetime.now(UTC).isoformat(timespec="seconds"),
        training_data=TrainingData(
            name=dataset.name,
            sha256=dataset.sha256,
            texts=len(training),
            held_out_texts=len(held_out),
        ),
        recipe=plan.recipe,
        seed=plan.seed,
        features=list(trained.features),
        description=plan.description,
    )
    return Manifest(
        name=plan.ref.name,
        version=plan.ref.version,
        format=trained.format,
        labels=training.names(),
        device="cpu" if trained.format == "skops" else "auto",
        artifacts=pin(trained.artifacts),
        pipeline=list(trained.specs),
        architecture=dict(trained.architecture),
        batching=trained.batching,
        libraries=dict(trained.libraries),
        metadata=metadata,
    )
