"""Worker process. `tfidf-logreg`: word TF-IDF and logistic regression, the plain baseline."""

from sklearn.linear_model import LogisticRegression

from app.models.base import StepSpec
from app.training.data import Labelled
from app.training.recipes import Progress, Trained
from app.training.recipes.linear import train_linear

CLEANING = [
    StepSpec(step="unicode", options={"form": "NFKC"}),
    StepSpec(step="html_entities"),
    StepSpec(step="urls"),
    StepSpec(step="mentions"),
    StepSpec(step="lowercase"),
    StepSpec(step="special_characters", options={"keep": "'"}),
    StepSpec(step="whitespace"),
]
MIN_TEXTS = 2
STRENGTH = 4.0
MAX_ITERATIONS = 500


def train(rows: Labelled, seed: int, progress: Progress) -> Trained:
    """Words and pairs of words that occur in at least two texts; nothing is tuned."""
    classifier = LogisticRegression(C=STRENGTH, max_iter=MAX_ITERATIONS, random_state=seed)
    return train_linear(rows, CLEANING, [("word", (1, 2), MIN_TEXTS)], classifier.fit, progress)
