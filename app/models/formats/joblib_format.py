"""Worker process. Scikit-learn estimators in joblib or pickle files: code that runs on loading.

The loader calls this only where `limits.allow_pickle` is true, and only with bytes whose digest is
the one that the manifest pins. Whoever writes the manifest decides what runs here.
"""

import io
from collections.abc import Mapping
from typing import Any

import joblib

from app.models.base import Manifest, Predictor
from app.models.estimators import check_manifest, tame, to_predictor


def load(contents: Mapping[str, bytes], manifest: Manifest, device: str) -> Predictor:
    """An estimator with `predict_proba`; runs on the CPU whatever `device` says."""
    check_manifest(manifest)
    classifier = contents[manifest.artifacts[0].file]
    return to_predictor(load_object(classifier, str(manifest.ref)), manifest)


def load_object(artifact_bytes: bytes, ref: str) -> Any:
    """Whatever the file builds; raises whatever its code raises."""
    found = joblib.load(io.BytesIO(artifact_bytes))
    tame(found, ref)
    return found
