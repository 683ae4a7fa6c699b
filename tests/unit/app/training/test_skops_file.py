"""Equal estimators give equal files, and the files are still skops files."""

import copy
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from app.training.skops_file import ZIP_EPOCH, dumps

FEATURES = np.arange(24.0).reshape(8, 3) % 5
LABELS = list("abcabcab")


def fitted():
    shared = Normalizer()
    return make_pipeline(shared, shared, LogisticRegression(C=3.0)).fit(FEATURES, LABELS)


@pytest.mark.parametrize("estimator", [fitted(), ComplementNB().fit(FEATURES, LABELS)])
def test_file_gives_back_an_estimator_with_the_same_answers(estimator):
    loaded = skops.io.loads(dumps(estimator))

    expected = estimator.predict_proba(FEATURES)
    np.testing.assert_array_equal(loaded.predict_proba(FEATURES), expected)


def test_equal_estimators_give_equal_bytes():
    kept_alive = [fitted(), copy.deepcopy(fitted()), fitted()]

    assert len({dumps(estimator) for estimator in kept_alive}) == 1


def test_file_holds_no_time_of_writing(tmp_path):
    path = tmp_path / "model.skops"
    path.write_bytes(dumps(fitted()))

    with zipfile.ZipFile(path) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {ZIP_EPOCH}
        assert all(entry.compress_type == zipfile.ZIP_DEFLATED for entry in archive.infolist())
