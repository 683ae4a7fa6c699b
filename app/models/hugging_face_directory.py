"""Worker process. The manifest of a Hugging Face directory, written from what it says of itself."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from app.errors import ArtifactInvalid, ArtifactUnsafe, ManifestInvalid
from app.models.base import Artifact, Batching, Manifest, Metadata, Ref, StepSpec
from app.models.hugging_face_config import (
    CONFIG_FILE,
    check_classifier,
    check_config,
    labels_of,
    max_tokens,
    problem_type_of,
)
from app.preprocessing.subwords import STEP

FORMAT = "transformers"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# What writes the files that are missing, in one line each.
SAVE_WEIGHTS = "AutoModelForSequenceClassification.from_pretrained(DIR).save_pretrained(DIR)"
SAVE_TOKENIZER = "AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)"


def describe(path: Path, ref: Ref) -> Manifest:
    """The manifest of the sequence classifier in `path`, as version `ref`.

    Raises `ModelError` subclasses that say what is missing, and what writes it.
    """
    if not (path / CONFIG_FILE).exists():
        raise ManifestInvalid(path.name, f"the file is missing, and so is {CONFIG_FILE}")
    config = check_config(_read(path, CONFIG_FILE), path.name)
    check_classifier(config, path.name)
    _check_files(path)
    options = {"artifact": TOKENIZER_FILE, "max_tokens": _max_tokens(path, config)}
    return Manifest(
        name=ref.name,
        version=ref.version,
        format=FORMAT,
        labels=labels_of(config, path.name),
        problem_type=problem_type_of(config, path.name),
        artifacts=[_pinned(path / file) for file in (WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE)],
        pipeline=[StepSpec(step=STEP, options=options)],
        batching=Batching(cost="padded_tokens"),
        metadata=Metadata(description=f"{(config.get('architectures') or [FORMAT])[0]}"),
    )


def _check_files(path: Path) -> None:
    files = sorted(file.name for file in path.iterdir())
    if WEIGHTS_FILE not in files:
        pickles = [name for name in files if name.endswith(PICKLES)]
        if pickles:
            said = f"{pickles[0]} is a pickle, which can run any code; {WEIGHTS_FILE} is"
            raise ArtifactUnsafe(path.name, f"{said} written by {SAVE_WEIGHTS}")
        said = f"{WEIGHTS_FILE} is missing; one file of it is"
        raise ArtifactInvalid(path.name, f"{said} written by {SAVE_WEIGHTS}")
    if TOKENIZER_FILE not in files:
        said = f"{TOKENIZER_FILE} is missing; it is"
        raise ArtifactInvalid(path.name, f"{said} written by {SAVE_TOKENIZER}")


def _max_tokens(path: Path, config: dict[str, Any]) -> int:
    """The fewest that model and tokenizer speak of."""
    limit = max_tokens(config)
    if (path / TOKENIZER_CONFIG_FILE).exists():
        # Tokenizers without a limit say 10^30.
        said = _read(path, TOKENIZER_CONFIG_FILE).get("model_max_length")
        limit = min(limit, said) if isinstance(said, int) and said > 0 else limit
    return limit


def _read(path: Path, file: str) -> Any:
    return msgspec.json.decode((path / file).read_bytes())


def _pinned(file: Path) -> Artifact:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        return Artifact(file=file.name, sha256=digest, size_bytes=opened.tell())
