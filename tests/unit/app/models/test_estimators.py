"""Estimators as predictors: the order of columns and the short cut for logistic regression."""

from collections import defaultdict

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import FeatureUnion, Pipeline

from app.errors import ArtifactInvalid, ArtifactUnsafe
from app.models.base import Manifest
from app.models.estimators import EstimatorPredictor, LogisticPredictor, tame, to_predictor
from tests.models import LABELS, train

ROWS = sparse.random_array((40, 12), density=0.4, rng=np.random.default_rng(0), format="csr")


def manifest(labels):
    return Manifest(name="tiny", version="v1", format="skops", labels=labels, artifacts=[])


def fit(estimator, classes=LABELS):
    return estimator.fit(ROWS, [classes[at % len(classes)] for at in range(40)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_short_cut_gives_what_scikit_learn_gives(dtype):
    fitted = fit(LogisticRegression())
    rows = ROWS.astype(dtype)

    predictor = to_predictor(fitted, manifest(list(LABELS)))

    assert isinstance(predictor, LogisticPredictor)
    found = predictor.predict_proba(rows)
    assert found == pytest.approx(fitted.predict_proba(rows), abs=1e-12)
    assert found.dtype == np.float64


def test_short_cut_follows_the_order_of_the_labels():
    fitted = fit(LogisticRegression())
    predictor = to_predictor(fitted, manifest(["positive", "negative", "neutral"]))

    found = predictor.predict_proba(ROWS)

    assert found == pytest.approx(fitted.predict_proba(ROWS)[:, [2, 0, 1]])


@pytest.mark.parametrize(
    ("estimator", "classes"),
    [
        (OneVsRestClassifier(LogisticRegression()), LABELS),
        (LogisticRegression(), ("no", "yes")),
        (LogisticRegression(solver="liblinear"), ("no", "yes")),
    ],
    ids=["one against rest", "two classes", "liblinear"],
)
def test_other_estimators_answer_themselves(estimator, classes):
    fitted = fit(estimator, classes)

    predictor = to_predictor(fitted, manifest(list(classes)))

    assert isinstance(predictor, EstimatorPredictor)
    assert predictor.predict_proba(ROWS) == pytest.approx(fitted.predict_proba(ROWS))


def test_numbered_classes_take_the_labels_in_their_order():
    fitted = fit(LogisticRegression(), (0, 1, 2))

    found = to_predictor(fitted, manifest(list(LABELS))).predict_proba(ROWS)

    assert found == pytest.approx(fitted.predict_proba(ROWS))


@pytest.mark.parametrize("classes", [("0", "1"), (0, 1)])
def test_classes_that_are_the_labels_are_found_by_name_though_they_are_numbers(classes):
    fitted = fit(LogisticRegression(), classes)

    found = to_predictor(fitted, manifest(["1", "0"])).predict_proba(ROWS)

    assert found == pytest.approx(fitted.predict_proba(ROWS)[:, [1, 0]])


@pytest.mark.parametrize("labels", [["negative", "positive"], ["negative", "neutral", "other"]])
def test_labels_that_are_not_the_classes_are_refused(labels):
    with pytest.raises(ArtifactInvalid, match="its classes are"):
        to_predictor(fit(LogisticRegression()), manifest(labels))


def test_classifier_with_an_answer_for_each_output_is_refused():
    fitted = MultiOutputClassifier(LogisticRegression()).fit(ROWS, [[0, 1], [1, 0]] * 20)

    with pytest.raises(ArtifactInvalid, match="it has classes for each output"):
        to_predictor(fitted, manifest(["no", "yes"]))


def test_nan_deep_inside_an_estimator_is_found():
    fitted = fit(OneVsRestClassifier(LogisticRegression()))
    fitted.estimators_[1].coef_[0, 3] = np.nan

    with pytest.raises(ArtifactInvalid, match="coef_ of LogisticRegression holds NaN"):
        tame(fitted, "tiny-v1")


def test_nan_in_the_weights_of_terms_is_found():
    fitted = train()
    fitted[0].idf_ = np.full(len(fitted[0].vocabulary_), np.nan)

    with pytest.raises(ArtifactInvalid, match="holds NaN"):
        tame(fitted, "tiny-v1")


@pytest.mark.parametrize("column", [2_000_000_000, 15, -1, 4, "3", None, 0.5])
def test_vocabulary_whose_columns_are_not_those_of_its_terms_is_refused(column):
    fitted = train()
    fitted[0].vocabulary_["day"] = column

    with pytest.raises(ArtifactUnsafe, match="vocabulary_ of TfidfVectorizer does not number"):
        tame(fitted, "tiny-v1")


def test_vocabulary_that_grows_by_itself_is_refused():
    fitted = train()
    fitted[0].vocabulary_ = defaultdict(int, fitted[0].vocabulary_)

    with pytest.raises(ArtifactUnsafe, match="does not number"):
        tame(fitted, "tiny-v1")


def many_pipelines(part):
    for _ in range(500):
        part = Pipeline([("inside", part)])
    return part


def in_an_array(part):
    steps = np.empty(1, dtype=object)
    steps[0] = ("inside", part)
    pipeline = Pipeline([])
    pipeline.steps = steps
    return pipeline


HIDDEN = {
    "in many pipelines": many_pipelines,
    "in an array": in_an_array,
    "in a dict": lambda part: FeatureUnion([], transformer_weights={"inside": part}),
}


@pytest.mark.parametrize("hide", HIDDEN.values(), ids=HIDDEN)
def test_vectorizer_that_reads_files_is_found_wherever_it_is(hide):
    fitted = train()
    fitted[0].input = "filename"

    with pytest.raises(ArtifactUnsafe, match="would read files"):
        tame(hide(fitted), "tiny-v1")
