"""Worker process. The formats that a manifest may name; each module is imported on first use.

A format module has `load(contents, manifest, device) -> Predictor`, where `contents` are the bytes
of the version's artifacts by file name; those that can also hold a feature extractor have
`load_object(artifact_bytes, ref)`.
"""

from typing import Any

from app.errors import ManifestInvalid
from app.models.base import Manifest
from app.models.extras import import_optional

FORMATS = {
    "skops": "app.models.formats.skops_format",
    "joblib": "app.models.formats.joblib_format",
    "torch": "app.models.formats.torch_format",
    "transformers": "app.models.formats.transformers_format",
    "onnx": "app.models.formats.onnx_format",
    "sentence_encoder": "app.models.formats.sentence_encoder_format",
}
# Libraries that an installation may lack, and the extra of this package that brings them.
EXTRAS = {
    "torch": "torch",
    "safetensors": "torch",
    "transformers": "transformers",
    "onnx": "onnx",
    "onnxruntime": "onnx",
}


def format_module(manifest: Manifest) -> Any:
    """The module that loads this manifest's format; imports its libraries on first use.

    Raises `ManifestInvalid` with the formats that exist, `LibraryMissing` with what to install.
    """
    if manifest.format not in FORMATS:
        known = ", ".join(FORMATS)
        raise ManifestInvalid(str(manifest.ref), f"unknown format {manifest.format!r}: {known}")
    return import_optional(FORMATS[manifest.format], EXTRAS)
