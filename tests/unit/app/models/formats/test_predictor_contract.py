"""What the engine relies on, for every format: one set of promises, each kept by all."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import skops.io
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from app.models.base import MULTI_LABEL, StepSpec
from app.models.loader import load
from app.settings import Limits
from tests.hugging_face_models import build_sentence_encoder, build_transformer
from tests.models import CLEANING, LABELS, WORDS, build_model, build_pickle, entry, train
from tests.onnx_models import build_onnx_texts, build_onnx_tokens, exported
from tests.torch_models import build_torch_model

TEXTS = ["good day", "bad night", "table chair", "unknown words", "", "good " * 50]
# Sums in another order, for padding or in a matrix product, are rounded otherwise.
ACCURACY = 1e-5


def pipeline_in_skops(root):
    return build_model(root)


def pipeline_in_joblib(root):
    return build_pickle(root, train())


def features_beside_classifier(root):
    texts = [words for words in WORDS.values() for _ in range(5)]
    features = TfidfVectorizer().fit(texts)
    labels = [label for label in WORDS for _ in range(5)]
    classifier = LogisticRegression().fit(features.transform(texts), labels)
    files = {
        "classifier.skops": skops.io.dumps(classifier),
        "features.skops": skops.io.dumps(features),
    }
    step = StepSpec(step="tfidf", options={"artifact": "features.skops"})
    return build_model(root, files=files, pipeline=[*CLEANING, step])


def onnx_classifier_of_features(root):
    return exported(features_beside_classifier(root), root / "tiny" / "v2")


def transformer_of_many_labels(root):
    return build_transformer(root, problem_type=MULTI_LABEL)


def load_version(path):
    return load(entry(path), Limits(allow_pickle=True), "cpu")


@pytest.fixture(
    scope="module",
    params=[
        pipeline_in_skops,
        features_beside_classifier,
        pipeline_in_joblib,
        build_torch_model,
        build_transformer,
        transformer_of_many_labels,
        build_sentence_encoder,
        build_onnx_tokens,
        build_onnx_texts,
        onnx_classifier_of_features,
    ],
    ids=lambda build: build.__name__,
)
def path(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def model(path):
    return load_version(path)


def answer(model, texts):
    return model.predictor.predict_proba(model.pipeline.extract(texts))


def test_one_row_per_text_and_one_column_per_label(model):
    found = answer(model, TEXTS)

    assert found.shape == (len(TEXTS), len(LABELS))
    assert found.dtype == np.float64


def test_rows_are_probabilities(model):
    found = answer(model, TEXTS)

    assert (found >= 0).all()
    assert (found <= 1).all()
    if model.manifest.sums_to_one:
        assert found.sum(axis=1) == pytest.approx(np.ones(len(TEXTS)))


def test_rows_are_in_the_order_of_the_texts(model):
    forwards, backwards = answer(model, TEXTS), answer(model, TEXTS[::-1])

    assert forwards == pytest.approx(backwards[::-1], abs=ACCURACY)


def test_batch_gives_what_each_text_gives_alone(model):
    together = answer(model, TEXTS)

    alone = np.concatenate([answer(model, [text]) for text in TEXTS])
    assert together == pytest.approx(alone, abs=ACCURACY)


def test_no_rows_give_no_answers(model):
    none = model.pipeline.extract(TEXTS)[:0]

    assert model.predictor.predict_proba(none).shape == (0, len(LABELS))


def test_version_that_is_loaded_again_gives_the_same_answers(model, path):
    again = load_version(path)

    assert answer(again, TEXTS) == pytest.approx(answer(model, TEXTS), abs=1e-9)
    assert again.digest == model.digest


def test_threads_get_the_answers_that_one_thread_gets(model):
    expected = [answer(model, [text]) for text in TEXTS]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda at: answer(model, [TEXTS[at % len(TEXTS)]]), range(240)))

    for at, row in enumerate(found):
        assert row == pytest.approx(expected[at % len(TEXTS)], abs=1e-9)
