"""Worker process. The PyTorch architectures that a manifest may name; the code is all here.

The forward pass of each is `judge(embed(token_ids))`: in between it is measured how far texts are
from those that the model knows.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
import torch
from torch import Tensor, nn

from app.errors import ManifestInvalid
from app.models.base import Document

Size = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]

PADDING = 0
# Below every activation, and still finite where a text has no token at all.
EMPTY = -1e4


class EmbeddingBag(nn.Module):
    """Mean and maximum of the token embeddings, then one linear layer.

    Takes token ids (n, max_tokens), padded with 0, and gives logits (n, labels). Padding has no
    influence: a text has the same logits in any batch and at any width.
    """

    class Options(Document, frozen=True, kw_only=True):
        """`vocabulary` counts token ids, those of padding and unknown tokens included."""

        vocabulary: Size
        dimensions: Annotated[int, msgspec.Meta(ge=1, le=4096)]
        labels: Annotated[int, msgspec.Meta(ge=2, le=100_000)]
        dropout: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.embeddings = _embeddings(options.vocabulary, options.dimensions)
        self.dropout = nn.Dropout(options.dropout)
        self.output = nn.Linear(2 * options.dimensions, options.labels)

    def forward(self, token_ids: Tensor) -> Tensor:
        """Ids (n, max_tokens) to logits (n, labels)."""
        return self.judge(self.embed(token_ids))

    def embed(self, token_ids: Tensor) -> Tensor:
        """Ids (n, max_tokens) to what the linear layer sees, (n, 2 * dimensions)."""
        present = (token_ids != PADDING).unsqueeze(2)
        embedded = self.embeddings(token_ids)
        mean = embedded.sum(1) / present.sum(1).clamp(min=1)
        greatest = embedded.masked_fill(~present, EMPTY).amax(1)
        greatest = torch.where(present.any(1), greatest, torch.zeros_like(greatest))
        return torch.cat([mean, greatest], 1)

    def judge(self, embedded: Tensor) -> Tensor:
        """What `embed` gives to logits (n, labels)."""
        logits: Tensor = self.output(self.dropout(embedded))
        return logits


def _embeddings(vocabulary: int, dimensions: int) -> nn.Embedding:
    weights = torch.empty(vocabulary, dimensions)
    # nn.Embedding would fill them on the meta device too, where shapes are checked, and torch
    # imports its whole compiler for that: seconds in every worker.
    if not weights.is_meta:
        nn.init.normal_(weights)
        weights[PADDING] = 0
    filled: nn.Embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
        weights, freeze=False, padding_idx=PADDING
    )
    return filled


ARCHITECTURES: dict[str, Callable[[Any], nn.Module]] = {"embedding_bag": EmbeddingBag}


def build(architecture: Mapping[str, Any]) -> nn.Module:
    """The module that a manifest describes: `name` from the table, the rest are its options.

    Its weights are random until they are loaded. `ManifestInvalid` says what is wrong.
    """
    options = dict(architecture)
    name = options.pop("name", None)
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ManifestInvalid("architecture", f"unknown name {name!r}; there are: {known}")
    kind: Any = ARCHITECTURES[name]
    try:
        return kind(msgspec.convert(options, kind.Options))  # type: ignore[no-any-return]
    except msgspec.ValidationError as error:
        raise ManifestInvalid("architecture", f"{name}: {error}") from error
