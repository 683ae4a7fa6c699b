"""Small real model directories for tests: trained on thirty texts, in milliseconds.

    path = build_model(tmp_path / "models", "tiny", "v1")

"good day" is positive, "bad night" negative, "table chair" neutral. `strength` changes the
probabilities and so the digest: two versions of it answer differently.
"""

import hashlib
import io
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import msgspec
import sklearn
import skops.io
import yaml
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from app.models.base import Artifact, Manifest, Metadata, StepSpec
from app.models.catalog import MANIFEST_FILE, Entry, read_manifest
from app.models.directory import ACTIVE_FILE
from app.settings import Limits

LABELS = ("negative", "neutral", "positive")
WORDS = {
    "negative": "bad night awful terrible sad",
    "neutral": "table chair window paper street",
    "positive": "good day great lovely happy",
}
CLEANING = (StepSpec(step="lowercase"), StepSpec(step="whitespace"))
LIBRARIES = {"scikit-learn": sklearn.__version__}
LIMITS = Limits()


def train(strength: float = 10.0, classifier: Any = None) -> Pipeline:
    """A fitted scikit-learn pipeline, texts in, probabilities of `LABELS` out."""
    rows = [
        (f"{words} {words.split()[at % 5]}", label)
        for label, words in WORDS.items()
        for at in range(10)
    ]
    chosen = LogisticRegression(C=strength) if classifier is None else classifier
    texts, labels = zip(*rows, strict=True)
    return Pipeline([("tfidf", TfidfVectorizer()), ("classifier", chosen)]).fit(texts, labels)


def skops_bytes(strength: float = 10.0) -> bytes:
    """The trained pipeline as a skops file; the same bytes for the same strength."""
    return _skops_bytes(strength)


@cache
def _skops_bytes(strength: float) -> bytes:
    return bytes(skops.io.dumps(train(strength)))


def joblib_bytes(thing: object) -> bytes:
    """Anything as a joblib file."""
    content = io.BytesIO()
    joblib.dump(thing, content)
    return content.getvalue()


def build_model(
    root: Path,
    name: str = "tiny",
    version: str = "v1",
    *,
    strength: float = 10.0,
    files: dict[str, bytes] | None = None,
    **manifest: Any,
) -> Path:
    """Write `root`/name/version and return it; `files` (first is the classifier) and any key of
    the manifest replace the defaults."""
    contents = {"model.skops": skops_bytes(strength)} if files is None else files
    fields: dict[str, Any] = {
        "format": "skops",
        "labels": list(LABELS),
        "pipeline": list(CLEANING),
        "libraries": LIBRARIES,
        "metadata": Metadata(accuracy=0.9, macro_f1=0.9, trained_at="2026-01-01T00:00:00Z"),
    }
    pinned = [pin(file, content) for file, content in contents.items()]
    fields = {"name": name, "version": version, "artifacts": pinned} | fields | manifest
    path = root / name / version
    path.mkdir(parents=True)
    for file, content in contents.items():
        (path / file).write_bytes(content)
    write_manifest(path, Manifest(**fields))
    return path


def build_pickle(root: Path, thing: object, name: str = "tiny", version: str = "v1") -> Path:
    """A version whose classifier is `thing`, pickled."""
    files = {"model.joblib": joblib_bytes(thing)}
    return build_model(root, name, version, files=files, format="joblib")


def pin(file: str, content: bytes) -> Artifact:
    """What a manifest says of a file."""
    digest = hashlib.sha256(content).hexdigest()
    return Artifact(file=file, sha256=digest, size_bytes=len(content))


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write model.yaml."""
    text = yaml.safe_dump(msgspec.to_builtins(manifest), sort_keys=False)
    (path / MANIFEST_FILE).write_text(text, encoding="utf-8")


def edit_manifest(path: Path, **changes: Any) -> None:
    """Replace keys of an existing model.yaml."""
    write_manifest(path, msgspec.structs.replace(read_manifest(path), **changes))


def activate(root: Path, **versions: str) -> None:
    """Write active.json: `activate(root, tiny="v2")`."""
    (root / ACTIVE_FILE).write_bytes(msgspec.json.encode(versions))


def entry(path: Path) -> Entry:
    """What the catalog says of a valid version directory."""
    manifest = read_manifest(path)
    return Entry(manifest.ref, path, manifest, None)
