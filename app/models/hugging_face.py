"""Worker process. A Hugging Face model from its config and weights: no hub, no code but ours.

The family is a name in the table below, weights are safetensors, and config.json only gives sizes.
Weights must fit it name by name and shape by shape.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

# Read when transformers is imported: nothing is ever fetched.
os.environ["HF_HUB_OFFLINE"] = "1"

import msgspec
import numpy as np
import safetensors.torch
import torch
import transformers

from app.errors import ArtifactInvalid, ArtifactUnsafe, ManifestInvalid
from app.models.base import Manifest
from app.models.device import choose_device
from app.models.hugging_face_config import CONFIG_FILE, FAMILIES, check_config, max_tokens
from app.models.packing import Packing, is_packable
from app.models.prepacked import prepack
from app.models.threads import limit_torch
from app.preprocessing.subwords import STEP, TokenizedTexts

# Sizes that decide how long a module is built, before the weights tell that it is wrong.
MAX_LAYERS = 1000
LAYERS = ("num_hidden_layers", "n_layers", "num_layers")
# What a config may ask for beside its sizes: other outputs, other attention code.
IGNORED = ("attn_implementation", "output_attentions", "output_hidden_states", "return_dict")
# A buffer that old versions of transformers wrote among the weights.
POSITIONS = "position_ids"

limit_torch()
transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]


class Encoder:
    """A module in evaluation mode on its device, which may be changed to be faster there.

    On a GPU one thread at a time runs it. `pads` says whether all texts of a batch cost what the
    longest does.
    """

    def __init__(self, module: Any, device: str, precision: str = "float32") -> None:
        self.device = device
        self.pads = device == "gpu" or not is_packable(module)
        # Half precision is there for GPUs; on a CPU it would be slower, and less precise.
        self._precision = precision if device == "gpu" else "float32"
        self.config = module.config
        self._module = module.to("cuda") if device == "gpu" else module
        self._target = torch.device("cuda" if device == "gpu" else "cpu")
        self._turn = threading.Lock() if device == "gpu" else nullcontext()
        self._padding = self.config.pad_token_id or 0
        self._max_id = module.get_input_embeddings().num_embeddings - 1
        self._packing = None
        if not self.pads:
            prepack(module)
            self._packing = Packing(module)

    def run(self, texts: TokenizedTexts, finish: Callable[[Any, Any], Any]) -> Any:
        """What `finish` makes of the module's output and the mask of at least one text, as numpy.

        Raises `ValueError` for a token id that the model has no embedding of.
        """
        ids, lengths = texts.packed(self._padding)
        # An id beyond the embeddings would end the whole CUDA context, not just this call.
        if int(ids.max()) > self._max_id:
            raise ValueError(f"token ids must be within 0..{self._max_id}")
        with self._turn, torch.inference_mode(), self._precise(), memory_errors(self.device):
            if self._packing is not None:
                output, mask = self._packing.run(torch.from_numpy(ids), lengths)
            else:
                padded, mask = map(self._moved, texts.padded(self._padding))
                output = self._module(input_ids=padded, attention_mask=mask)
            return finish(output, mask).cpu().numpy()

    def _moved(self, array: Any) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        # From pinned memory the copy runs beside what the GPU still computes.
        tensor = tensor.pin_memory() if self.device == "gpu" else tensor
        return tensor.to(self._target, non_blocking=True)

    def _precise(self) -> AbstractContextManager[Any]:
        if self._precision == "float32":
            return nullcontext()
        return torch.autocast(self._target.type, dtype=getattr(torch, self._precision))


@contextmanager
def memory_errors(device: str) -> Iterator[None]:
    """Make a `MemoryError` of what torch raises when the GPU has no memory left."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        if device == "gpu":
            # What is cached for tensors of other sizes may be what is missing.
            torch.cuda.empty_cache()
        raise MemoryError(str(error)) from None


def load_encoder(
    contents: Mapping[str, bytes], manifest: Manifest, device: str, head: str = "Model"
) -> Encoder:
    """Build the model of config.json with the weights of the first artifact.

    `head` completes the name of a class, such as `ForSequenceClassification`. Raises
    `ManifestInvalid`, `ArtifactInvalid`, `ArtifactUnsafe` and `DeviceMissing`.
    """
    ref = str(manifest.ref)
    if CONFIG_FILE not in contents:
        raise ManifestInvalid(ref, f"artifacts: {CONFIG_FILE} is missing")
    described = check_config(msgspec.json.decode(contents[CONFIG_FILE]), ref)
    _check_pipeline(manifest, described)
    chosen = choose_device(manifest, device, torch.cuda.is_available())
    weights = _weights(contents, manifest)
    module = _build(described, weights, head, ref)
    module.requires_grad_(False).eval()
    return Encoder(module, chosen, manifest.precision)


def _weights(contents: Mapping[str, bytes], manifest: Manifest) -> dict[str, torch.Tensor]:
    ref, file = str(manifest.ref), manifest.artifacts[0].file
    if not file.endswith(".safetensors"):
        raise ArtifactUnsafe(ref, f"{file}: weights must be safetensors, no pickle")
    weights = safetensors.torch.load(contents[file])
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ArtifactInvalid(ref, f"tensor {name[:100]} holds NaN or infinite numbers")
    return {name: part for name, part in weights.items() if not name.endswith(POSITIONS)}


def _build(
    described: dict[str, Any], weights: dict[str, torch.Tensor], head: str, ref: str
) -> torch.nn.Module:
    family = FAMILIES[described["model_type"]]
    if any(described.get(key, 0) > MAX_LAYERS for key in LAYERS):
        raise ArtifactInvalid(ref, f"{CONFIG_FILE} has more than {MAX_LAYERS} layers")
    sizes = {key: value for key, value in described.items() if key not in IGNORED and key[0] != "_"}
    config = getattr(transformers, f"{family}Config").from_dict(sizes)
    kind = getattr(transformers, f"{family}{head}")
    _check_sizes(kind, config, weights, ref)
    module, seen = kind.from_pretrained(
        None,
        config=config,
        state_dict=weights,
        dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    _check_fit(seen, ref)
    built: torch.nn.Module = module
    return built


def _check_sizes(kind: Any, config: Any, weights: dict[str, torch.Tensor], ref: str) -> None:
    # On the meta device sizes cost no memory, whatever the config says they are.
    with torch.device("meta"):
        wanted = kind(config).state_dict()
    for name, tensor in wanted.items():
        if "classifier" in name and name in weights and len(weights[name]) != len(tensor):
            outputs = f"its head has {len(weights[name])} outputs, {CONFIG_FILE} has {len(tensor)}"
            raise ArtifactInvalid(ref, f"{outputs} labels ({name[:100]})")
    needed = sum(tensor.numel() for tensor in wanted.values())
    given = sum(tensor.numel() for tensor in weights.values())
    if needed > given:
        raise ArtifactInvalid(ref, f"{CONFIG_FILE} needs {needed} weights, the file has {given}")


def _check_fit(seen: Any, ref: str) -> None:
    for name in sorted(seen["missing_keys"]):
        raise ArtifactInvalid(ref, f"tensor {name[:100]} is missing from the weights")
    for name in sorted(seen["unexpected_keys"]):
        raise ArtifactInvalid(ref, f"tensor {name[:100]} is not in the architecture")
    for name, given, wanted in sorted(seen["mismatched_keys"]):
        shapes = f"{list(given)}, the architecture has {list(wanted)}"
        raise ArtifactInvalid(ref, f"tensor {name[:100]} has the shape {shapes}")


def _check_pipeline(manifest: Manifest, described: dict[str, Any]) -> None:
    ref, limit = str(manifest.ref), max_tokens(described)
    if not manifest.pipeline or manifest.pipeline[-1].step != STEP:
        raise ManifestInvalid(ref, f"pipeline: the last step must be {STEP}")
    wanted = manifest.pipeline[-1].options["max_tokens"]
    if wanted > limit:
        raise ManifestInvalid(ref, f"max_tokens: {wanted}, the model reads at most {limit}")


def no_answers(labels: int) -> Any:
    """What a predictor gives for no texts: a float64 array (0, labels)."""
    return np.empty((0, labels))
