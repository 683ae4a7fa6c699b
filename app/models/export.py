"""Worker process. `mlserve export`: a scikit-learn version as an ONNX version of equal answers.

What skl2onnx can express goes into the graph: the classifier, or a whole scikit-learn pipeline that
takes texts. Cleaning and our own feature steps stay steps of the manifest.
"""

import copy
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from app.errors import ExportRefused
from app.models import golden
from app.models.base import Manifest, Ref, StepSpec
from app.models.catalog import Entry
from app.models.extras import import_optional
from app.models.formats import format_module
from app.models.loader import WARM_UP_TEXTS, LoadedModel, load, read_artifacts
from app.models.manifest_file import pin, write_manifest
from app.models.reference import REFERENCE_FILE
from app.preprocessing.pipeline import FEATURE_STEPS
from app.settings import Limits

SOURCES = ("skops", "joblib")
EXTRAS = {"skl2onnx": "onnx", "onnx": "onnx"}
MODEL_FILE = "model.onnx"
# The graph computes in double precision. What an estimator that keeps its weights in single
# precision (sentiment-v2) gives differs by its own rounding: measured up to 6e-5.
MAX_DIFFERENCE = 1e-4
MAX_WORDS = 100
# Words of two characters and more in any script: what scikit-learn's default pattern finds. In the
# pattern's own words onnxruntime would find ASCII words only.
DEFAULT_PATTERN = r"(?u)\b\w\w+\b"
WORDS = r"[\p{L}\p{N}_]{2,}"
LOWERCASE = StepSpec(step="lowercase")


def export(entry: Entry, target: Path, version: str, limits: Limits) -> tuple[Manifest, float]:
    """Write `entry` as an ONNX version into `target`; (its manifest, by how much answers differ).

    Raises `ExportRefused` where it cannot be expressed or answers otherwise, and `ModelError`
    subclasses; nothing is left behind then.
    """
    original = load(entry, limits, "cpu")
    if original.manifest.format not in SOURCES:
        said = f"format {original.manifest.format}: only {' and '.join(SOURCES)} can be exported"
        raise ExportRefused(original.ref, said)
    contents = dict(read_artifacts(entry, limits))
    first = original.manifest.artifacts[0].file
    estimator = format_module(original.manifest).load_object(contents.pop(first), original.ref)
    steps = list(original.manifest.pipeline)
    converted = _convert(estimator, original, steps)
    manifest = _manifest(original, estimator, version, {MODEL_FILE: converted} | contents, steps)
    try:
        target.mkdir()
    except FileExistsError as error:
        raise ExportRefused(str(manifest.ref), f"{target.name} exists already") from error
    try:
        _write(target, manifest, {MODEL_FILE: converted} | contents, entry.path)
        exported = Entry(manifest.ref, target, manifest, None)
        return manifest, _compare(original, exported, _words(estimator), limits)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _convert(estimator: Any, original: LoadedModel, steps: list[StepSpec]) -> bytes:
    """The graph; a step may be added that takes over what it does not do."""
    to_onnx = import_optional("skl2onnx", EXTRAS).to_onnx
    tensors = import_optional("skl2onnx.common.data_types", EXTRAS)
    portable, options = copy.deepcopy(estimator), dict[int, dict[str, Any]]()
    if steps and steps[-1].step in FEATURE_STEPS:
        columns = original.pipeline.extract(WARM_UP_TEXTS).shape[1]
        types = [("features", tensors.DoubleTensorType([None, columns]))]
    else:
        types = [("text", tensors.StringTensorType([None, 1]))]
        _prepare_words(portable, options, steps)
    options[id(_classifier(portable))] = {"zipmap": False}
    if hasattr(portable, "flatten_transform"):
        portable.flatten_transform = False  # of no meaning for probabilities, and not supported
    try:
        graph: bytes = to_onnx(portable, initial_types=types, options=options).SerializeToString()
    except Exception as error:  # whatever a converter trips over
        reason = " ".join(str(error).split())[:300]
        raise ExportRefused(original.ref, f"skl2onnx cannot express it: {reason}") from error
    return graph


def _classifier(estimator: Any) -> Any:
    return estimator[-1] if hasattr(estimator, "steps") else estimator


def _prepare_words(
    estimator: Any, options: dict[int, dict[str, Any]], steps: list[StepSpec]
) -> None:
    """Have texts lowercased before the graph, which would need a locale of the machine for it."""
    vectorizer: Any = estimator[0] if hasattr(estimator, "steps") else estimator
    if getattr(vectorizer, "token_pattern", None) == DEFAULT_PATTERN:
        options[id(vectorizer)] = {"tokenexp": WORDS}
    if getattr(vectorizer, "lowercase", False):
        vectorizer.lowercase = False
        steps.append(LOWERCASE)


def _manifest(
    original: LoadedModel,
    estimator: Any,
    version: str,
    contents: Mapping[str, bytes],
    steps: list[StepSpec],
) -> Manifest:
    found = [str(name) for name in estimator.classes_.tolist()]
    # The graph has the columns of the estimator, whatever the order of the labels was.
    labels = found if sorted(found) == sorted(original.labels) else original.labels
    return msgspec.structs.replace(
        original.manifest,
        version=version,
        format="onnx",
        labels=labels,
        device="cpu",
        artifacts=pin(contents),
        pipeline=steps,
        libraries={},
    )


def _write(target: Path, manifest: Manifest, contents: Mapping[str, bytes], source: Path) -> None:
    for file, content in contents.items():
        (target / file).write_bytes(content)
    for companion in (golden.GOLDEN_FILE, REFERENCE_FILE):
        if (source / companion).exists():
            shutil.copyfile(source / companion, target / companion)
    write_manifest(target, manifest)


def _words(estimator: Any) -> list[str]:
    """Some words that the estimator itself knows: golden texts may be missing."""
    vectorizer = estimator[0] if hasattr(estimator, "steps") else None
    return sorted(getattr(vectorizer, "vocabulary_", ()))[:MAX_WORDS]


def _compare(original: LoadedModel, exported: Entry, words: list[str], limits: Limits) -> float:
    """The largest difference of a probability over golden texts, words and others."""
    found = load(exported, limits, "cpu")
    file = exported.path / golden.GOLDEN_FILE
    content = file.read_bytes() if file.exists() else b""
    known = golden.decode(content, found.ref, found.labels)
    texts = [*WARM_UP_TEXTS, "", "Zürich, 日本語 und I'm", *words, " ".join(words)]
    texts += [row.text for row in known]
    order = [found.labels.index(label) for label in original.labels]
    difference = float(np.abs(_answers(found, texts)[:, order] - _answers(original, texts)).max())
    if difference > MAX_DIFFERENCE:
        raise ExportRefused(found.ref, f"answers would differ by {difference:.6f}")
    return difference


def _answers(model: LoadedModel, texts: list[str]) -> Any:
    cleaned = [model.pipeline.clean(text) for text in texts]
    return np.asarray(model.predictor.predict_proba(model.pipeline.extract(cleaned)))


def default_version(ref: Ref) -> str:
    """What an exported version is called where nobody says otherwise."""
    return f"{ref.version}onnx"
