"""References and windows for tests: counts that are simply given."""

import dataclasses
from pathlib import Path
from typing import Any

from app.models import reference
from app.models.catalog import read_manifest
from app.models.loader import LoadedModel
from app.models.measures import Measures
from app.models.reference import Histogram, Reference
from app.training.write import write_reference
from tests.models import LABELS

EDGES = [0.0, 0.25, 0.5, 0.75]
LENGTHS = [0.0, 5.0, 10.0, 20.0]
LONG = [0, 100, 300, 600]


def make_reference(**changes: Any) -> Reference:
    """A reference of 1000 held-out texts; `changes` replace its fields."""
    fields: dict[str, Any] = {
        "training_texts": 1000,
        "held_out_texts": 1000,
        "label_shares": dict(zip(LABELS, (0.4, 0.2, 0.4), strict=True)),
        "characters": Histogram(edges=LENGTHS, counts=LONG),
        "tokens": Histogram(edges=LENGTHS, counts=LONG),
        "predicted_shares": dict(zip(LABELS, (0.4, 0.2, 0.4), strict=True)),
        "confidence": Histogram(edges=EDGES, counts=[0, 200, 300, 500]),
        "unknown_tokens": Histogram(edges=EDGES, counts=[700, 200, 100, 0]),
        "unknown_token_share": 0.1,
    }
    return Reference(**(fields | changes))


def give_reference(path: Path, **changes: Any) -> Path:
    """Write such a reference into a version's directory, and return it."""
    write_reference(path, make_reference(**changes))
    return path


def measured(model: LoadedModel, path: Path, **changes: Any) -> LoadedModel:
    """`model` as if the directory that it was loaded from had had such a reference."""
    give_reference(path, **changes)
    known = reference.read(path, read_manifest(path))
    assert known is not None
    return dataclasses.replace(model, measures=Measures(known, model.labels, model.pipeline))
