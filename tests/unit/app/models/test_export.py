"""Exports answer as the original does, or there is none."""

import json
from pathlib import Path

import pytest
import skops.io
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from app.errors import ExportRefused
from app.models.base import Ref
from app.models.catalog import Catalog, read_manifest
from app.models.export import export
from app.models.install import install
from app.models.loader import load
from tests.models import LABELS, LIMITS, WORDS, build_model, entry
from tests.torch_models import build_torch_model

ROOT = Path(__file__).parents[4]
HELD_OUT = (ROOT / "tests/data/held_out.jsonl").read_text(encoding="utf-8")
TEXTS = [json.loads(line)["text"] for line in HELD_OUT.splitlines()]


def answers(model, texts):
    cleaned = [model.pipeline.clean(text) for text in texts]
    return model.predictor.predict_proba(model.pipeline.extract(cleaned))


def exact(model, texts):
    """What the estimator would answer without rounding: in double precision throughout."""
    estimator = getattr(model.predictor, "estimator", None)
    if estimator is None:
        return answers(model, texts)
    for member in estimator.estimators_:
        if hasattr(member, "feature_log_prob_"):
            member.feature_log_prob_ = member.feature_log_prob_.astype(float)
    cleaned = [model.pipeline.clean(text) for text in texts]
    return estimator.predict_proba(model.pipeline.extract(cleaned).astype(float))


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_sample_answers_the_same_as_onnx(version, tmp_path):
    original = Catalog(ROOT / "models", "sentiment").get(Ref("sentiment", version))

    manifest, _ = export(original, tmp_path / "made", "v9", LIMITS)

    installed = install(tmp_path / "made", tmp_path / "models", LIMITS)
    assert installed == (Ref("sentiment", "v9"), True)
    found = load(Catalog(tmp_path / "models", "sentiment").get(manifest.ref), LIMITS)
    assert (found.manifest.format, found.labels) == ("onnx", original.manifest.labels)
    served = load(original, LIMITS)
    assert answers(found, TEXTS) == pytest.approx(answers(served, TEXTS), abs=1e-4)
    assert answers(found, TEXTS) == pytest.approx(exact(served, TEXTS), abs=1e-6)


@pytest.mark.parametrize(
    "vectorizer",
    [
        TfidfVectorizer(),
        TfidfVectorizer(ngram_range=(1, 2), lowercase=False),
        CountVectorizer(),
    ],
    ids=["tfidf", "pairs", "counts"],
)
def test_pipeline_that_takes_texts_answers_the_same_as_onnx(vectorizer, tmp_path):
    texts = [words for words in WORDS.values() for _ in range(5)]
    labels = [label for label in WORDS for _ in range(5)]
    model = make_pipeline(vectorizer, LogisticRegression()).fit(texts, labels)
    path = build_model(tmp_path, files={"m.skops": skops.io.dumps(model)}, labels=LABELS[::-1])

    manifest, _ = export(entry(path), tmp_path / "made", "v2", LIMITS)

    found = load(entry(tmp_path / "made"), LIMITS)
    probes = [*TEXTS[:50], "Good DAY, Bad-night a_b 42", "İstanbul GOOD", "日本語 good"]
    order = [found.labels.index(label) for label in LABELS]
    expected = answers(load(entry(path), LIMITS), probes)[:, ::-1]
    assert answers(found, probes)[:, order] == pytest.approx(expected, abs=1e-5)
    assert read_manifest(tmp_path / "made") == manifest


def refused(path, tmp_path, sentence):
    with pytest.raises(ExportRefused, match=sentence):
        export(entry(path), tmp_path / "made", "v2", LIMITS)
    assert not (tmp_path / "made").exists()


def test_torch_version_is_refused(tmp_path):
    refused(build_torch_model(tmp_path), tmp_path, "format torch: only skops and joblib can be")


def test_what_cannot_be_expressed_is_refused_with_the_reason(tmp_path):
    texts = [words for words in WORDS.values() for _ in range(5)]
    labels = [label for label in WORDS for _ in range(5)]
    vectorizer = TfidfVectorizer(strip_accents="unicode")
    model = make_pipeline(vectorizer, LogisticRegression()).fit(texts, labels)
    path = build_model(tmp_path, files={"m.skops": skops.io.dumps(model)})

    refused(path, tmp_path, "skl2onnx cannot express it: .*strip_accents")


def test_export_that_would_answer_otherwise_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("app.models.export.WORDS", "[a-c]+")

    refused(build_model(tmp_path), tmp_path, r"answers would differ by 0\.\d+")


def test_directory_that_exists_is_left_alone(tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made/mine.txt").write_text("mine")

    with pytest.raises(ExportRefused, match="made exists already"):
        export(entry(build_model(tmp_path)), tmp_path / "made", "v2", LIMITS)
    assert [file.name for file in (tmp_path / "made").iterdir()] == ["mine.txt"]


def test_export_that_cannot_be_written_leaves_nothing(tmp_path):
    path = build_model(tmp_path)
    (path / "reference.json").unlink(missing_ok=True)
    (path / "reference.json").mkdir()

    with pytest.raises(IsADirectoryError):
        export(entry(path), tmp_path / "made", "v2", LIMITS)
    assert not (tmp_path / "made").exists()
