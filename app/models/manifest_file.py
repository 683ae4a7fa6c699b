"""Worker process. Writes a model.yaml, or one value into it, and leaves all else in it as it was.

Comments, order and style of a file that is changed are its author's: the text is changed in one
place, and what comes out must say the same as before but for that value.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import yaml

from app.errors import ManifestInvalid
from app.models.base import Artifact, Manifest
from app.models.catalog import MANIFEST_FILE, read_manifest
from app.untrusted_yaml import YamlLoader, parse

BLOCK, KEY, COST = "batching", "max_batch_tokens", "cost"


def pin(artifacts: Mapping[str, bytes]) -> list[Artifact]:
    """The manifest's rows for these file contents."""
    return [
        Artifact(file=file, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
        for file, content in artifacts.items()
    ]


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write the manifest of the version in `path`, where nobody reads it yet."""
    described = yaml.safe_dump(
        msgspec.to_builtins(manifest), sort_keys=False, allow_unicode=True, width=100
    )
    (path / MANIFEST_FILE).write_text(described, encoding="utf-8")


def set_max_batch_tokens(path: Path, tokens: int) -> Manifest:
    """Write the budget into the manifest of the version in `path`; what it says now.

    A reader sees the file before or after, never between. Raises `ManifestInvalid` where the block
    `batching` is not there or cannot be changed so, and `OSError` where the file cannot be written.
    """
    known = read_manifest(path)
    file = path / MANIFEST_FILE
    # Bytes: line ends stay what they are.
    text = file.read_bytes().decode("utf-8")
    changed = with_max_batch_tokens(text, tokens, known)
    _replace(file, changed.encode("utf-8"))
    return read_manifest(path)


def with_max_batch_tokens(text: str, tokens: int, known: Manifest) -> str:
    """`text`, which says `known`, with another budget."""
    batching = msgspec.structs.replace(known.batching, max_batch_tokens=tokens)
    wanted = msgspec.structs.replace(known, batching=batching)
    with suppress(ValueError, LookupError, yaml.YAMLError):
        changed = _changed(text, tokens)
        if msgspec.convert(parse(changed), Manifest) == wanted:
            return changed
    raise ManifestInvalid(str(known.ref), f"{BLOCK}: {KEY} cannot be written; set it to {tokens}")


def _changed(text: str, tokens: int) -> str:
    block = _values(yaml.compose(text, YamlLoader))[BLOCK][1]
    values = _values(block)
    if KEY in values:
        value = values[KEY][1]
        start, end = value.start_mark.index, value.end_mark.index
        return f"{text[:start]}{tokens}{text[end:]}"
    # Before the cost, which is there: without it texts are counted, and there is no budget.
    cost = values[COST][0].start_mark
    between = ", " if block.flow_style else "\n" + " " * cost.column
    return f"{text[: cost.index]}{KEY}: {tokens}{between}{text[cost.index :]}"


def _values(node: Any) -> dict[str, tuple[Any, Any]]:
    return {key.value: (key, value) for key, value in node.value}


def _replace(file: Path, content: bytes) -> None:
    # The dot: a version is installed from this directory, if need be, without what begins with it.
    staged, name = tempfile.mkstemp(prefix=f".{MANIFEST_FILE}-", dir=file.parent)
    try:
        with os.fdopen(staged, "wb") as opened:
            opened.write(content)
            # The workers may run as another user.
            os.fchmod(staged, file.stat().st_mode & 0o777)
            os.fsync(staged)
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
