"""Worker process. Linear layers with weights in the order in which a CPU reads them.

In each call, torch has its BLAS bring the weights of a layer into that order. oneDNN can do so once
for all. torch has no public name for it: the two operators here are those that `torch.compile` uses
where it freezes a model (`torch._inductor.fx_passes.mkldnn_fusion`). Where they are missing, layers
stay as they are.
"""

import platform
from typing import Any

import torch

# What passes have, about; with more or fewer it is as right, and hardly slower.
PASS_TOKENS = 512
OPERATORS = ("_reorder_linear_weight", "_linear_pointwise")
X86 = ("x86_64", "AMD64")


class PrepackedLinear(torch.nn.Module):
    """Computes what `linear` computes; its weights cannot be read or trained any more."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, PASS_TOKENS)
        self._bias = linear.bias

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Vectors (..., in) to vectors (..., out), float32."""
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            vectors, self._weight, self._bias, "none", [], ""
        )
        return found


def prepack(module: Any) -> None:
    """Replace the linear layers inside a module on the CPU, where this processor gains by it."""
    if not can_prepack():
        return
    for parent in list(module.modules()):
        for name, layer in parent.named_children():
            if type(layer) is torch.nn.Linear:
                setattr(parent, name, PrepackedLinear(layer))


def can_prepack() -> bool:
    """Whether torch has the operators, on a processor that they are made for."""
    is_built = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    has_operators = all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS)
    return bool(is_built) and has_operators and platform.machine() in X86
