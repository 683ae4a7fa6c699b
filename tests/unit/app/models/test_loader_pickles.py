"""Pickles run code: only with permission, only the pinned ones, and only a classifier will do."""

import os
import sys
from pathlib import Path

import msgspec
import pytest

from app.errors import ArtifactInvalid, ArtifactMismatch, ArtifactUnsafe
from app.models.base import StepSpec
from app.models.catalog import read_manifest
from app.models.loader import load
from app.settings import Limits
from tests.models import (
    LIMITS,
    build_model,
    build_pickle,
    edit_manifest,
    entry,
    joblib_bytes,
    skops_bytes,
    train,
)

FILE = "model.skops"


class Bomb:
    """A pickle that ends the process which loads it."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return (os._exit, (3,))


class Quitter:
    """A pickle that asks the process to end."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return (sys.exit, (3,))


def test_pickle_without_permission_never_runs(tmp_path: Path) -> None:
    path = build_pickle(tmp_path, Bomb())

    with pytest.raises(ArtifactUnsafe, match=r"limits\.allow_pickle is false"):
        load(entry(path), LIMITS)


def test_pickled_features_without_permission_never_run(tmp_path: Path) -> None:
    files = {FILE: skops_bytes(), "features.joblib": joblib_bytes(Bomb())}
    step = StepSpec(step="tfidf", options={"artifact": "features.joblib"})
    path = build_model(tmp_path, files=files, pipeline=[step])

    with pytest.raises(ArtifactUnsafe, match=r"limits\.allow_pickle is false"):
        load(entry(path), LIMITS)


def test_pickle_with_another_digest_never_runs(tmp_path: Path) -> None:
    path = build_pickle(tmp_path, Bomb())
    bomb = read_manifest(path).artifacts[0]
    edit_manifest(path, artifacts=[msgspec.structs.replace(bomb, sha256="0" * 64)])

    with pytest.raises(ArtifactMismatch):
        load(entry(path), Limits(allow_pickle=True))


def test_pickle_with_permission_and_digest_answers(tmp_path: Path) -> None:
    path = build_pickle(tmp_path, train())

    model = load(entry(path), Limits(allow_pickle=True))

    assert model.labels[int(model.predictor.predict_proba(["good day"]).argmax())] == "positive"


def test_pickle_that_asks_the_process_to_end_is_invalid(tmp_path: Path) -> None:
    path = build_pickle(tmp_path, Quitter())

    with pytest.raises(ArtifactInvalid):
        load(entry(path), Limits(allow_pickle=True))


def test_pickle_that_is_no_classifier_is_invalid(tmp_path: Path) -> None:
    path = build_pickle(tmp_path, {"a": "dict"})

    with pytest.raises(ArtifactInvalid, match="dict is not a fitted classifier"):
        load(entry(path), Limits(allow_pickle=True))
