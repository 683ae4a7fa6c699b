"""Worker process. Writes skops files whose bytes depend on the object alone.

skops puts memory addresses and the time into its archive, so that the same model would have a new
digest each time that it is trained. Addresses become running numbers, times the zip epoch.
"""

import io
import json
import zipfile
from typing import Any

from app.models import skops_io

SCHEMA = "schema.json"
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def dumps(estimator: Any) -> bytes:
    """The estimator as a compressed skops archive; equal estimators give equal bytes."""
    written = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(skops_io.dumps(estimator))) as archive,
        zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as canonical,
    ):
        schema = json.loads(archive.read(SCHEMA))
        files: dict[str, str] = {}
        _renumber(schema, {}, files)
        for name, new_name in files.items():
            _write(canonical, new_name, archive.read(name))
        _write(canonical, SCHEMA, json.dumps(schema).encode())
    return written.getvalue()


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    # A ZipInfo of one's own does not inherit the archive's compression.
    entry = zipfile.ZipInfo(name, ZIP_EPOCH)
    archive.writestr(entry, content, zipfile.ZIP_DEFLATED, compresslevel=9)


def _renumber(node: Any, ids: dict[int, int], files: dict[str, str]) -> None:
    """Number objects and files in the order in which the schema names them, in place."""
    if isinstance(node, list):
        for part in node:
            _renumber(part, ids, files)
    if not isinstance(node, dict):
        return
    if node.get("__loader__") == "JsonNode":
        # Whether two equal constants are one object is the interpreter's affair.
        node.pop("__id__", None)
    elif isinstance(node.get("__id__"), int):
        node["__id__"] = ids.setdefault(node["__id__"], len(ids) + 1)
    if isinstance(node.get("file"), str):
        new_name = f"{len(files)}.{node['file'].rpartition('.')[2]}"
        node["file"] = files.setdefault(node["file"], new_name)
    for part in node.values():
        _renumber(part, ids, files)
