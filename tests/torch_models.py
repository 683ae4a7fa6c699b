"""A small PyTorch version directory for tests: real architecture, seeded weights, no training."""

import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from app.models.base import StepSpec
from app.models.formats.torch_architectures import build
from tests.models import CLEANING, LABELS, build_model

VOCABULARY = ("good", "bad", "day", "night", "table", "chair")
ARCHITECTURE = {
    "name": "embedding_bag",
    "vocabulary": len(VOCABULARY) + 2,
    "dimensions": 4,
    "labels": len(LABELS),
}
TOKEN_IDS = StepSpec(step="token_ids", options={"artifact": "vocabulary.json", "max_tokens": 6})


def weights() -> dict[str, torch.Tensor]:
    """Seeded weights that fit `ARCHITECTURE`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return dict(build(ARCHITECTURE).state_dict())


def build_torch_model(
    root: Path,
    name: str = "tiny",
    version: str = "v1",
    *,
    tensors: dict[str, torch.Tensor] | None = None,
    **manifest: Any,
) -> Path:
    """Write `root`/name/version with these tensors, or with those of `weights`."""
    files = {
        "model.safetensors": safetensors.torch.save(weights() if tensors is None else tensors),
        "vocabulary.json": json.dumps(VOCABULARY).encode(),
    }
    fields: dict[str, Any] = {
        "format": "torch",
        "architecture": ARCHITECTURE,
        "libraries": {"torch": str(torch.__version__)},
        "pipeline": [*CLEANING, TOKEN_IDS],
    }
    return build_model(root, name, version, files=files, **(fields | manifest))
