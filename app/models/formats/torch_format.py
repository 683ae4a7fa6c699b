"""Worker process. PyTorch models: safetensors weights in an architecture that is our own code.

Neither file can run code: weights are numbers by name, and the architecture is a name in a table
with its sizes. Weights must fit it name by name and shape by shape.
"""

import threading
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import safetensors.torch
import torch

from app.errors import ArtifactInvalid
from app.models.base import Manifest, Predictor
from app.models.device import choose_device
from app.models.formats.torch_architectures import build
from app.models.threads import limit_torch

limit_torch()


class TorchPredictor:
    """A module in evaluation mode. On a GPU one thread at a time runs the forward pass."""

    def __init__(self, module: Any, labels: int, device: str) -> None:
        self.device = device
        self._module = module
        self._labels = labels
        self._target = torch.device("cuda" if device == "gpu" else "cpu")
        self._turn = threading.Lock() if device == "gpu" else nullcontext()
        self._max_id = _max_id(module)

    def predict_proba(self, features: Any) -> Any:
        """Token ids (n, max_tokens) to a float64 array (n, labels); n may be 0."""
        return self.predict_embedded(features)[0]

    def predict_embedded(self, features: Any) -> tuple[Any, Any]:
        """The same, and the embeddings of the texts: float32 (n, dimensions of the last layer)."""
        ids = torch.from_numpy(np.asarray(features, dtype=np.int64))
        if len(ids) == 0:
            return np.empty((0, self._labels)), np.empty((0, 0), np.float32)
        # An id beyond the embeddings would end the whole CUDA context, not just this call.
        if int(ids.min()) < 0 or int(ids.max()) > self._max_id:
            raise ValueError(f"token ids must be within 0..{self._max_id}")
        with self._turn, torch.inference_mode():
            embedded = self._module.embed(ids.to(self._target))
            probabilities = torch.softmax(self._module.judge(embedded).double(), dim=1)
            return probabilities.cpu().numpy(), embedded.cpu().numpy()


def load(contents: Mapping[str, bytes], manifest: Manifest, device: str) -> Predictor:
    """Build the manifest's architecture with these weights on the device that both sides allow."""
    chosen = choose_device(manifest, device, torch.cuda.is_available())
    weights = safetensors.torch.load(contents[manifest.artifacts[0].file])
    _check_weights(weights, manifest)
    module: Any = build(manifest.architecture)
    module.load_state_dict(weights)
    module.requires_grad_(False).eval()
    if chosen == "gpu":
        module.to("cuda")
    return TorchPredictor(module, len(manifest.labels), chosen)


def _check_weights(weights: dict[str, torch.Tensor], manifest: Manifest) -> None:
    ref = str(manifest.ref)
    # On the meta device sizes cost no memory, whatever the manifest says they are.
    with torch.device("meta"):
        wanted = build(manifest.architecture).state_dict()
    for name in sorted(wanted.keys() ^ weights.keys()):
        where = "missing from the weights" if name in wanted else "not in the architecture"
        raise ArtifactInvalid(ref, f"tensor {name[:100]} is {where}")
    for name, tensor in weights.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"{list(tensor.shape)}, the architecture has {list(wanted[name].shape)}"
            raise ArtifactInvalid(ref, f"tensor {name[:100]} has the shape {shapes}")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ArtifactInvalid(ref, f"tensor {name[:100]} holds NaN or infinite numbers")


def _max_id(module: torch.nn.Module) -> int:
    sizes = [
        part.num_embeddings
        for part in module.modules()
        if isinstance(part, torch.nn.Embedding | torch.nn.EmbeddingBag)
    ]
    return min(sizes, default=1 << 62) - 1
