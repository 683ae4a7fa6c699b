"""Worker process. Scikit-learn estimators in skops files: data, never code.

skops itself limits neither size nor depth, so both are measured before it sees the file. What it
may build beyond its own defaults is the list below, and never what a file says about itself.
"""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

from app.errors import ArtifactUnsafe
from app.models.archives import max_inflated_bytes
from app.models.base import Manifest, Predictor
from app.models.estimators import check_manifest, tame, to_predictor
from app.models.skops_io import UntrustedTypesFoundException, loads

ALLOWED_TYPES = (
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.utils._bunch.Bunch",
)

MAX_ENTRIES = 10_000
MAX_INFLATED_BYTES = 2 << 30
MAX_SCHEMA_BYTES = 256 << 20
MAX_SCHEMA_DEPTH = 200
SCHEMA = "schema.json"


def load(contents: Mapping[str, bytes], manifest: Manifest, device: str) -> Predictor:
    """An estimator with `predict_proba`; runs on the CPU whatever `device` says."""
    check_manifest(manifest)
    classifier = contents[manifest.artifacts[0].file]
    return to_predictor(load_object(classifier, str(manifest.ref)), manifest)


def load_object(artifact_bytes: bytes, ref: str) -> Any:
    """Any object of allowed types; `ArtifactUnsafe` names what is not allowed."""
    check_limits(artifact_bytes, ref)
    try:
        found = loads(artifact_bytes, trusted=ALLOWED_TYPES)
    except UntrustedTypesFoundException as error:
        # Raised before anything is built; the first line names the types.
        raise ArtifactUnsafe(ref, str(error).partition("\n")[0][:400]) from error
    tame(found, ref)
    return found


def check_limits(artifact_bytes: bytes, ref: str) -> None:
    """Refuse a file that would need much more memory than its size promises."""
    with zipfile.ZipFile(io.BytesIO(artifact_bytes)) as archive:
        sizes = _check_zip(archive, len(artifact_bytes), ref)
        if sizes.get(SCHEMA, 0) > MAX_SCHEMA_BYTES:
            raise ArtifactUnsafe(ref, f"{SCHEMA} is larger than {MAX_SCHEMA_BYTES} bytes")
        for name in sizes:
            if name.endswith(".npz"):
                # A sparse matrix is a zip in the zip.
                sizes[name] = _nested_bytes(archive.read(name), ref)
        referenced = sum(sizes.get(name, 0) for name in _files(archive.read(SCHEMA), ref))
    # A file may be referenced many times, and is read each time.
    _check_ratio(referenced, len(artifact_bytes), ref)


def _nested_bytes(inner: bytes, ref: str) -> int:
    with zipfile.ZipFile(io.BytesIO(inner)) as archive:
        return sum(_check_zip(archive, len(inner), ref).values())


def _check_zip(archive: zipfile.ZipFile, size_bytes: int, ref: str) -> dict[str, int]:
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise ArtifactUnsafe(ref, f"more than {MAX_ENTRIES} files in an archive")
    sizes = {entry.filename: entry.file_size for entry in entries}
    if len(sizes) != len(entries):
        raise ArtifactUnsafe(ref, "two files of one name in an archive")
    _check_ratio(sum(sizes.values()), size_bytes, ref)
    return sizes


def _check_ratio(inflated: int, size_bytes: int, ref: str) -> None:
    allowed = max_inflated_bytes(size_bytes, MAX_INFLATED_BYTES)
    if inflated > allowed:
        raise ArtifactUnsafe(
            ref, f"{size_bytes} bytes would inflate to {inflated}, allowed are {allowed}"
        )


def _files(schema: bytes, ref: str) -> Iterator[str]:
    """Every reference to a file of the archive, walked without recursion."""
    waiting = [(json.loads(schema), 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_SCHEMA_DEPTH:
            raise ArtifactUnsafe(ref, f"nested deeper than {MAX_SCHEMA_DEPTH} levels")
        if isinstance(node, dict) and isinstance(node.get("file"), str):
            yield node["file"]
        inside = node.values() if isinstance(node, dict) else node
        waiting.extend((part, depth + 1) for part in inside if isinstance(part, dict | list))
