"""Worker process. What the scikit-learn recipes share: learned features and a fitted classifier."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import sklearn

from app.models.base import StepSpec
from app.preprocessing.features import Analyzer, Vocabulary
from app.preprocessing.pipeline import Pipeline
from app.training.data import Labelled
from app.training.recipes import Progress, Trained
from app.training.skops_file import dumps
from app.training.vocabulary import learn_block

CLASSIFIER_FILE = "classifier.skops"
FEATURES_FILE = "features.json"

# An analyzer, its n-grams, and in how many texts an n-gram must occur.
BlockPlan = tuple[Analyzer, tuple[int, int], int]
# From a matrix (n, n-grams) and n labels to a fitted classifier.
Fit = Callable[[Any, Sequence[str]], Any]
_UNITS = {"word": "word n-grams", "char": "character n-grams", "char_wb": "character n-grams"}


def train_linear(
    rows: Labelled,
    cleaning: Sequence[StepSpec],
    blocks: Sequence[BlockPlan],
    fit: Fit,
    progress: Progress,
) -> Trained:
    """TF-IDF of these blocks over cleaned texts, and the classifier that `fit` makes of it."""
    progress("learning the vocabulary", 0.0)
    cleaner = Pipeline.build(cleaning, dict[str, Any]().__getitem__)
    cleaned = [cleaner.clean(text) for text in rows.texts]
    learned = [learn_block(cleaned, *block) for block in blocks]
    vocabulary = msgspec.json.encode(
        Vocabulary(texts=len(cleaned), sublinear_tf=True, blocks=learned)
    )
    specs = [*cleaning, StepSpec(step="tfidf", options={"artifact": FEATURES_FILE})]
    pipeline = Pipeline.build(specs, lambda file: msgspec.json.decode(vocabulary))

    progress("fitting the classifier", 0.3)
    classifier = fit(pipeline.extract(cleaned), rows.labels)
    return Trained(
        format="skops",
        specs=specs,
        artifacts={CLASSIFIER_FILE: dumps(classifier), FEATURES_FILE: vocabulary},
        pipeline=pipeline,
        predict_proba=classifier.predict_proba,
        libraries={"scikit-learn": sklearn.__version__},
        features=[
            f"TF-IDF of {len(block.terms)} {_UNITS[block.analyzer]}, "
            f"{block.ngrams[0]} to {block.ngrams[1]} long"
            for block in learned
        ],
    )
