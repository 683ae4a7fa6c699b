"""From a version directory to a model that answers, and what keeps it from answering."""

import threading
from pathlib import Path

import numpy as np
import pytest
import sklearn
import skops.io
from sklearn.svm import LinearSVC

from app.errors import ArtifactInvalid, ArtifactUnsafe, LibraryMismatch, ManifestInvalid
from app.models.base import Ref, StepSpec
from app.models.catalog import Entry, read_manifest
from app.models.loader import load
from app.settings import Limits
from tests.models import LIMITS, build_model, build_pickle, edit_manifest, entry, skops_bytes, train
from tests.odd_classifier import OddClassifier

FILE = "model.skops"


def test_loaded_model_answers_in_the_order_of_its_labels(version: Path) -> None:
    model = load(entry(version), LIMITS, now=lambda: 12.0)

    found = model.predictor.predict_proba(model.pipeline.extract(["good day", "bad night"]))

    assert [model.labels[column] for column in found.argmax(axis=1)] == ["positive", "negative"]
    assert (model.ref, model.device, model.loaded_at) == ("tiny-v1", "cpu", 12.0)
    assert model.digest == read_manifest(version).digest
    assert model.memory_bytes >= 0


def test_labels_in_another_order_than_the_classes_are_mapped(tmp_path: Path) -> None:
    path = build_model(tmp_path, labels=["positive", "negative", "neutral"])

    model = load(entry(path), LIMITS)

    found = model.predictor.predict_proba(["good day"])
    assert model.labels[int(found.argmax())] == "positive"


def test_entry_without_a_manifest_raises_its_own_error(tmp_path: Path) -> None:
    fault = ManifestInvalid("tiny-v1", "wrong")

    with pytest.raises(ManifestInvalid, match="wrong"):
        load(Entry(Ref("tiny", "v1"), tmp_path, None, fault), LIMITS)


def test_library_versions_match_in_their_minor_release(tmp_path: Path) -> None:
    major, minor = sklearn.__version__.split(".")[:2]
    other_patch = build_model(tmp_path, libraries={"scikit-learn": f"{major}.{minor}.99"})
    other_minor = build_model(tmp_path, version="v2", libraries={"scikit-learn": f"{major}.999.0"})

    assert load(entry(other_patch), LIMITS)
    with pytest.raises(LibraryMismatch) as caught:
        load(entry(other_minor), LIMITS)
    assert f"{major}.999.0" in str(caught.value)
    assert sklearn.__version__ in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": "tensorflow"}, "unknown format 'tensorflow': skops, joblib, torch"),
        ({"artifacts": []}, "at least one"),
        ({"libraries": {}}, "version of scikit-learn is missing"),
        ({"device": "gpu"}, "runs on the CPU"),
        ({"pipeline": [StepSpec(step="sparkle")]}, "unknown step"),
        ({"pipeline": [StepSpec(step="tfidf", options={"artifact": "x.json"})]}, "not an artifact"),
    ],
)
def test_manifest_that_cannot_be_followed_is_invalid(
    version: Path, changes: dict[str, object], sentence: str
) -> None:
    edit_manifest(version, **changes)

    with pytest.raises(ManifestInvalid, match=sentence):
        load(entry(version), LIMITS)


def test_feature_artifact_of_an_unknown_kind_is_invalid(tmp_path: Path) -> None:
    step = StepSpec(step="tfidf", options={"artifact": "features.txt"})
    files = {FILE: skops_bytes(), "features.txt": b"text"}
    path = build_model(tmp_path, files=files, pipeline=[step])

    with pytest.raises(ManifestInvalid, match="neither skops, joblib nor json"):
        load(entry(path), LIMITS)


def test_classes_that_are_not_the_labels_are_refused(tmp_path: Path) -> None:
    path = build_model(tmp_path, labels=["one", "two", "three"])

    with pytest.raises(ArtifactInvalid, match="classes are negative, neutral, positive"):
        load(entry(path), LIMITS)


def test_estimator_without_probabilities_is_refused(tmp_path: Path) -> None:
    content = skops.io.dumps(train(classifier=LinearSVC()))
    path = build_model(tmp_path, files={FILE: content})

    with pytest.raises(ArtifactInvalid, match="not a fitted classifier with probabilities"):
        load(entry(path), LIMITS)


def test_nan_weights_are_refused(tmp_path: Path) -> None:
    broken = train()
    broken[-1].coef_[0, 0] = np.nan
    path = build_model(tmp_path, files={FILE: skops.io.dumps(broken)})

    with pytest.raises(ArtifactInvalid, match="coef_ of LogisticRegression holds NaN"):
        load(entry(path), LIMITS)


def test_vectorizer_that_would_open_files_is_unsafe(tmp_path: Path) -> None:
    """With input="filename" scikit-learn reads the file that the user's text names."""
    reader = train()
    reader[0].set_params(input="filename")
    path = build_model(tmp_path, files={FILE: skops.io.dumps(reader)})

    with pytest.raises(ArtifactUnsafe, match="would read files"):
        load(entry(path), LIMITS)


def test_two_threads_load_the_same_version(version: Path) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(load(entry(version), LIMITS).digest))
        for _ in range(2)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [read_manifest(version).digest] * 2


NAN = float("nan")
GOOD_ROW = [0.2, 0.3, 0.5]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([GOOD_ROW], r"the shape \(1, 3\), not \(2, 3\)"),
        ([[0.5, 0.5]] * 2, r"the shape \(2, 2\), not \(2, 3\)"),
        ([GOOD_ROW, [NAN, 0.5, 0.5]], "NaN or infinite"),
        ([GOOD_ROW, [0.5, 0.5, 0.5]], "do not sum to 1"),
        ([GOOD_ROW, [1.5, 0.0, -0.5]], "outside of 0 to 1"),
    ],
    ids=["a row missing", "a column missing", "NaN", "sum above 1", "below 0"],
)
def test_version_whose_first_answers_are_no_probabilities_is_invalid(
    tmp_path: Path, rows: list[list[float]], sentence: str
) -> None:
    path = build_pickle(tmp_path, OddClassifier(rows))

    with pytest.raises(ArtifactInvalid, match=sentence):
        load(entry(path), Limits(allow_pickle=True))
