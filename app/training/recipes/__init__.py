"""Worker process. The recipes that `mlserve train` knows; each module is imported on first use.

A recipe module has `train(rows, seed, progress) -> Trained`. It sees the training part only, and
what it chooses (features, strengths, epochs) it chooses by cross-validation inside that part.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from app.models.base import Batching, StepSpec
from app.models.extras import import_optional
from app.training.data import Labelled

if TYPE_CHECKING:  # the command line lists the recipes without loading scikit-learn
    from app.preprocessing.pipeline import Pipeline

RECIPES = {
    "tfidf-logreg": "app.training.recipes.words",
    "tfidf-ensemble": "app.training.recipes.ensemble",
    "embedding-bag": "app.training.recipes.embeddings",
    "minilm-logreg": "app.training.recipes.minilm",
}

# Libraries that an installation may lack, and the extra of this package that brings them.
EXTRAS = {"torch": "torch", "safetensors": "torch", "transformers": "minilm"}

# Called with the name of a stage and the share of the whole training that is done, 0 to 1.
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model, in memory and as the artifacts that it is served from.

    `artifacts` are file contents by name, the classifier's first; `features` says for people what
    the model looks at; `predict_proba` maps features of n texts to an array (n, labels), `embed` to
    one (n, dimensions) where the model has embeddings of texts. `batching` is what the texts of a
    batch cost.
    """

    format: str
    specs: Sequence[StepSpec]
    artifacts: Mapping[str, bytes]
    pipeline: "Pipeline"
    predict_proba: Callable[[Any], Any]
    libraries: Mapping[str, str]
    features: Sequence[str]
    architecture: Mapping[str, Any] = field(default_factory=dict)
    embed: Callable[[Any], Any] | None = None
    batching: Batching = field(default_factory=Batching)


class Recipe(Protocol):
    """A module of this package."""

    def train(self, rows: Labelled, seed: int, progress: Progress) -> Trained:
        """Learn from the training part; the same rows and seed give the same model."""
        ...


def recipe(name: str) -> Recipe:
    """The recipe of that name in `RECIPES`; `LibraryMissing` where it needs an absent library."""
    found: Recipe = import_optional(RECIPES[name], EXTRAS)
    return found
