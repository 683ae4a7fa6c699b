"""Worker process. Texts of any lengths in one forward pass, without padding.

The tokens of all texts are one row. What a transformer does to each token by itself is done to the
row; attention, which mixes tokens, is computed for each text's part of it. What comes out of the
last layer is padded for the head, to which that is little work. So a text costs what its own tokens
cost, whatever is computed beside it.

transformers hands keywords that it does not know down to the attention function, and makes no mask
for one that is not its own (`transformers.AttentionInterface`). The small steps of many texts would
be slow on a GPU: there a batch is padded.
"""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface

from app.models.hugging_face_config import OFFSET_FAMILIES

ATTENTION = "mlserve_packed"
# Where the layers are, by `model_type`. DeBERTa is not here: its attention is its own.
LAYERS = {
    "bert": "encoder.layer",
    "roberta": "encoder.layer",
    "xlm-roberta": "encoder.layer",
    "distilbert": "transformer.layer",
    "modernbert": "layers",
}


def is_packable(module: Any) -> bool:
    """Whether `Packing` knows its family."""
    return module.config.model_type in LAYERS


class Packing:
    """Has a packable module compute without padding; it is called only through here then."""

    def __init__(self, module: Any) -> None:
        self._module = module
        config, base = module.config, module.base_model
        is_offset = config.model_type in OFFSET_FAMILIES
        self._first_position = config.pad_token_id + 1 if is_offset else 0
        self._has_types = hasattr(base.embeddings, "token_type_embeddings")
        module.set_attn_implementation(ATTENTION)
        last_layer = base.get_submodule(LAYERS[config.model_type])[-1]
        last_layer.register_forward_hook(_padded, with_kwargs=True)

    def run(self, ids: torch.Tensor, lengths: list[int]) -> tuple[Any, torch.Tensor]:
        """The output of the module and the mask, as if the texts had been padded.

        `ids` are the tokens of all texts, int64 (tokens); each text has `lengths` of them.
        """
        first = self._first_position
        positions = torch.cat([torch.arange(first, first + length) for length in lengths])
        mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
        types = {"token_type_ids": torch.zeros_like(ids)[None]} if self._has_types else {}
        given = {"input_ids": ids[None], "position_ids": positions[None], "attention_mask": mask}
        return self._module(**given, **types, lengths=lengths), mask


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    **keywords: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within each text, in the shapes of transformers: (1, heads, tokens, dimensions).

    Beside the `lengths` of the texts, keywords are those of transformers. With a `sliding_window`,
    a token sees those that are less than so many tokens away.
    """
    lengths, window, scale = (
        keywords["lengths"],
        keywords.get("sliding_window"),
        keywords["scaling"],
    )
    parts = [torch.split(states, lengths, dim=2) for states in (query, key, value)]
    found = [
        scaled_dot_product_attention(q, k, v, attn_mask=_near(length, window), scale=scale)
        for length, q, k, v in zip(lengths, *parts, strict=True)
    ]
    return torch.cat(found, dim=2).transpose(1, 2), None


def _near(length: int, window: int | None) -> torch.Tensor | None:
    if window is None or length <= window:
        return None
    places = torch.arange(length)
    return (places[:, None] - places).abs() < window


def _padded(
    module: torch.nn.Module, args: Any, kwargs: dict[str, Any], output: torch.Tensor
) -> torch.Tensor:
    """Vectors of all tokens in a row to those of each text (texts, tokens, dimensions)."""
    return pad_sequence(list(torch.split(output[0], kwargs["lengths"])), batch_first=True)


AttentionInterface.register(ATTENTION, attend)
