"""Worker process. Writes a version into the models directory: whole, or not at all."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from app.errors import VersionExists
from app.models.base import Manifest
from app.models.catalog import read_manifest
from app.models.directory import keep_name_resolvable
from app.models.golden import GOLDEN_FILE, Golden, encode
from app.models.manifest_file import write_manifest
from app.models.reference import REFERENCE_FILE, Reference


def write(
    models_dir: Path,
    manifest: Manifest,
    artifacts: Mapping[str, bytes],
    reference: Reference,
    golden: Sequence[Golden] = (),
) -> Path:
    """Create `models_dir`/<name>/<version> and return it.

    The same version with the same digest is left as it is; `VersionExists` for another digest.
    """
    target = models_dir / manifest.name / manifest.version
    if target.exists():
        return _same(target, manifest)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The leading dot hides it from every catalog until it is whole.
    staged = Path(tempfile.mkdtemp(prefix=f".{manifest.version}-", dir=target.parent))
    try:
        _fill(staged, manifest, artifacts, reference)
        if golden:
            (staged / GOLDEN_FILE).write_bytes(encode(golden))
        os.rename(staged, target)
    except OSError:
        # Only another run can have made it since; a rename never replaces a filled directory.
        if not target.exists():
            raise
        return _same(target, manifest)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    keep_name_resolvable(models_dir, manifest.ref)
    return target


def write_reference(folder: Path, reference: Reference) -> None:
    """Write reference.json into the directory of a version."""
    # A line for each number of a histogram or a centroid would be a page for each.
    fields = msgspec.json.decode(msgspec.json.encode(reference))
    lines = (f" {json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items())
    content = "{\n" + ",\n".join(lines) + "\n}\n"
    (folder / REFERENCE_FILE).write_text(content, encoding="utf-8")


def _same(target: Path, manifest: Manifest) -> Path:
    if read_manifest(target).digest != manifest.digest:
        raise VersionExists(str(manifest.ref))
    return target


def _fill(
    folder: Path, manifest: Manifest, artifacts: Mapping[str, bytes], reference: Reference
) -> None:
    folder.chmod(0o755)
    for file, content in artifacts.items():
        (folder / file).write_bytes(content)
    write_reference(folder, reference)
    write_manifest(folder, manifest)
