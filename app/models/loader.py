"""Worker process. From a version directory to a model that has answered its golden texts.

Every artifact is read once into memory, compared with what the manifest pins, and parsed from those
same bytes, so nothing can change between the check and the use.
"""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from app.errors import (
    ArtifactInvalid,
    ArtifactMismatch,
    ArtifactUnsafe,
    ManifestInvalid,
)
from app.models import golden, reference
from app.models.attempt import resident_bytes
from app.models.base import Artifact, Embedder, Manifest, Predictor, pads
from app.models.budget import TokenBudget
from app.models.catalog import Entry
from app.models.formats import format_module
from app.models.golden import Golden
from app.models.guard import only_model_errors
from app.models.measures import Measures
from app.preprocessing.pipeline import Pipeline
from app.settings import Limits

PICKLE_FORMAT = "joblib"
# Which format reads an artifact that a pipeline step names.
OBJECT_FORMATS = {".skops": "skops", ".joblib": PICKLE_FORMAT, ".pkl": PICKLE_FORMAT}
WARM_UP_TEXTS = ("This is the first text.", "and here comes another one, a little longer!")
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A version that is ready to answer.

    `memory_bytes` is by how much the process's resident memory grew while it was loaded: memory
    that was already free in the process is not counted, so it is a lower bound and may be 0.
    `budget` is what a batch may cost, where that is counted in tokens.
    `measures` count its traffic; None without a usable reference. `embedder` is the predictor where
    they want embeddings.
    """

    manifest: Manifest
    digest: str
    pipeline: Pipeline
    predictor: Predictor
    device: str
    memory_bytes: int
    loaded_at: float
    budget: TokenBudget | None = None
    measures: Measures | None = None
    embedder: Embedder | None = None

    @property
    def ref(self) -> str:
        """`name-version`."""
        return str(self.manifest.ref)

    @property
    def pads(self) -> bool:
        """Whether texts of tokens are padded to the longest one of their batch."""
        return pads(self.predictor)

    @property
    def labels(self) -> list[str]:
        """What the columns of the probabilities mean."""
        return self.manifest.labels


def load(
    entry: Entry, limits: Limits, device: str = "auto", now: Callable[[], float] = time.time
) -> LoadedModel:
    """Verify, build and warm up one version; raises `ModelError` subclasses only.

    `device` is what this process offers: "cpu", "gpu" or "auto" (a GPU where there is one).
    """
    if entry.manifest is None:
        raise entry.error or ManifestInvalid(str(entry.ref), "not readable")
    with only_model_errors(str(entry.ref)):
        # Imported before memory is measured: libraries are shared by all models that use them.
        format_module(entry.manifest)
        before = resident_bytes()
        pipeline, predictor = _build(entry, entry.manifest, limits, device)
        _try_out(entry, entry.manifest, pipeline, predictor)
        measures = _measures(entry, entry.manifest, pipeline)
        embeds = measures is not None and measures.wants_embeddings
        return LoadedModel(
            manifest=entry.manifest,
            digest=entry.manifest.digest,
            pipeline=pipeline,
            predictor=predictor,
            device=getattr(predictor, "device", "cpu"),
            memory_bytes=max(0, resident_bytes() - before),
            loaded_at=now(),
            budget=_budget(entry.manifest, predictor),
            measures=measures,
            embedder=predictor if embeds and isinstance(predictor, Embedder) else None,
        )


def _budget(manifest: Manifest, predictor: Predictor) -> TokenBudget | None:
    batching = manifest.batching
    if batching.cost == "texts":
        return None
    return TokenBudget(batching.max_batch_tokens, pads(predictor))


def _measures(entry: Entry, manifest: Manifest, pipeline: Pipeline) -> Measures | None:
    known = reference.read(entry.path, manifest)
    return known and Measures(known, manifest.labels, pipeline)


def _build(
    entry: Entry, manifest: Manifest, limits: Limits, device: str
) -> tuple[Pipeline, Predictor]:
    if not manifest.artifacts:
        raise ManifestInvalid(str(manifest.ref), "artifacts: there must be at least one")
    module = format_module(manifest)
    contents = read_artifacts(entry, limits)

    def artifact(file: str) -> Any:
        if file not in contents:
            raise ManifestInvalid(str(manifest.ref), f"pipeline: {file} is not an artifact")
        return _parse(file, contents[file], manifest, limits)

    if manifest.format == PICKLE_FORMAT:
        _check_pickle_allowed(manifest, limits)
    pipeline = Pipeline.build(manifest.pipeline, artifact)
    predictor: Predictor = module.load(contents, manifest, device)
    return pipeline, predictor


def read_artifacts(entry: Entry, limits: Limits) -> dict[str, bytes]:
    """The verified bytes of every artifact by file name; `ArtifactMismatch` where one differs."""
    manifest = entry.manifest
    if manifest is None:
        raise entry.error or ManifestInvalid(str(entry.ref), "not readable")
    most, total = limits.max_artifact_bytes, sum(row.size_bytes for row in manifest.artifacts)
    if total > most:
        raise ArtifactUnsafe(str(entry.ref), f"{total} bytes of artifacts, allowed are {most}")
    with _directory(entry) as folder:
        return {
            artifact.file: _read_pinned(folder, artifact, str(entry.ref))
            for artifact in manifest.artifacts
        }


@contextmanager
def _directory(entry: Entry) -> Iterator[int]:
    try:
        folder = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise ArtifactInvalid(str(entry.ref), f"no directory: {error.strerror}") from error
    try:
        yield folder
    finally:
        os.close(folder)


def _read_pinned(folder: int, artifact: Artifact, ref: str) -> bytes:
    try:
        content, size_bytes = _read(folder, artifact.file, artifact.size_bytes, ref)
    except OSError as error:
        raise ArtifactInvalid(ref, f"{artifact.file}: {error.strerror}") from error
    if size_bytes != artifact.size_bytes or len(content) != artifact.size_bytes:
        pinned = f"{artifact.size_bytes} bytes"
        raise ArtifactMismatch(ref, artifact.file, f"{size_bytes} bytes", pinned)
    digest = hashlib.sha256(content).hexdigest()
    if digest != artifact.sha256:
        raise ArtifactMismatch(ref, artifact.file, f"sha256 {digest}", artifact.sha256)
    return content


def _read(folder: int, file: str, max_bytes: int, ref: str) -> tuple[bytes, int]:
    """The content of a regular file, empty where it is larger than `max_bytes`, and its size."""
    # A pipe opened without O_NONBLOCK would wait for its writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    with open(os.open(file, flags, dir_fd=folder), "rb") as opened:
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ArtifactUnsafe(ref, f"{file} is not a regular file")
        content = opened.read(max_bytes + 1) if status.st_size <= max_bytes else b""
    return content, status.st_size


def _parse(file: str, content: bytes, manifest: Manifest, limits: Limits) -> Any:
    ref, suffix = str(manifest.ref), os.path.splitext(file)[1]
    if suffix == ".json":
        return msgspec.json.decode(content)
    if suffix not in OBJECT_FORMATS:
        raise ManifestInvalid(ref, f"pipeline: {file} is neither skops, joblib nor json")
    if OBJECT_FORMATS[suffix] == PICKLE_FORMAT:
        _check_pickle_allowed(manifest, limits)
    named = msgspec.structs.replace(manifest, format=OBJECT_FORMATS[suffix])
    return format_module(named).load_object(content, ref)


def _check_pickle_allowed(manifest: Manifest, limits: Limits) -> None:
    if not limits.allow_pickle:
        raise ArtifactUnsafe(
            str(manifest.ref), "a pickle can run any code; limits.allow_pickle is false"
        )


def _try_out(entry: Entry, manifest: Manifest, pipeline: Pipeline, predictor: Predictor) -> None:
    def predict(texts: list[str]) -> Any:
        cleaned = [pipeline.clean(text) for text in texts]
        return np.asarray(predictor.predict_proba(pipeline.extract(cleaned)))

    ref = str(manifest.ref)
    _warm_up(manifest, predict)
    golden.check(read_golden(entry, manifest.labels), ref, manifest.labels, predict)


def _warm_up(manifest: Manifest, predict: Callable[[list[str]], Any]) -> None:
    ref, found = str(manifest.ref), predict(list(WARM_UP_TEXTS))
    expected = (len(WARM_UP_TEXTS), len(manifest.labels))
    if found.shape != expected:
        raise ArtifactInvalid(ref, f"warm-up gave the shape {found.shape}, not {expected}")
    if not np.isfinite(found).all():
        raise ArtifactInvalid(ref, "warm-up gave NaN or infinite probabilities")
    if (found < 0).any() or (found > 1 + SUM_TOLERANCE).any():
        raise ArtifactInvalid(ref, "warm-up gave probabilities outside of 0 to 1")
    if manifest.sums_to_one and (abs(found.sum(axis=1) - 1) > SUM_TOLERANCE).any():
        raise ArtifactInvalid(ref, "warm-up gave probabilities that do not sum to 1")


def read_golden(entry: Entry, labels: Sequence[str]) -> list[Golden]:
    """The golden texts of a version with these labels; raises `ModelError` subclasses."""
    return golden.decode(_golden_bytes(entry), str(entry.ref), labels)


def _golden_bytes(entry: Entry) -> bytes:
    ref, file = str(entry.ref), golden.GOLDEN_FILE
    try:
        with _directory(entry) as folder:
            content, size_bytes = _read(folder, file, golden.MAX_GOLDEN_BYTES, ref)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ArtifactInvalid(ref, f"{file}: {error.strerror}") from error
    if size_bytes > golden.MAX_GOLDEN_BYTES:
        raise ArtifactUnsafe(ref, f"{file} is larger than {golden.MAX_GOLDEN_BYTES} bytes")
    return content
