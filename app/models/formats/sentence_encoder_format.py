"""Worker process. A transformer that embeds texts, and a logistic head over the embeddings.

The first artifact is the encoder (safetensors, with config.json and tokenizer.json). The head is in
`head.safetensors`: `weight` (labels, dimensions) and `bias` (labels).
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import safetensors.torch
import torch
from scipy.special import expit, softmax

from app.errors import ArtifactInvalid, ManifestInvalid
from app.models.base import Document, Manifest, Predictor, architecture_as
from app.models.hugging_face import Encoder, load_encoder, no_answers
from app.preprocessing.subwords import TokenizedTexts

HEAD_FILE = "head.safetensors"
HEAD_TENSORS = {"weight", "bias"}


class Options(Document, frozen=True, kw_only=True):
    """The `architecture` of a manifest: how token vectors become the embedding of a text."""

    pooling: Literal["mean", "cls"] = "mean"
    normalize: bool = True


class SentencePredictor:
    """Token ids to embeddings, and from these to probabilities."""

    def __init__(
        self, encoder: Encoder, head: Mapping[str, torch.Tensor], manifest: Manifest
    ) -> None:
        self.device, self.pads = encoder.device, encoder.pads
        self._encoder = encoder
        self._options = architecture_as(Options, manifest)
        self._weight, self._bias = (head[name].double().numpy() for name in ("weight", "bias"))
        self._sums_to_one = manifest.sums_to_one

    def predict_proba(self, features: TokenizedTexts) -> Any:
        """Token ids of n texts to a float64 array (n, labels); n may be 0."""
        return self.predict_embedded(features)[0]

    def predict_embedded(self, features: TokenizedTexts) -> tuple[Any, Any]:
        """The same, and the embeddings of the texts: a float32 array (n, dimensions)."""
        if len(features) == 0:
            return no_answers(len(self._bias)), np.empty((0, 0), np.float32)
        embeddings = embed(self._encoder, features, self._options)
        return self.judge(embeddings), embeddings

    def judge(self, embeddings: Any) -> Any:
        """Embeddings (n, dimensions) to a float64 array (n, labels)."""
        logits = embeddings.astype(np.float64) @ self._weight.T + self._bias
        return softmax(logits, axis=1) if self._sums_to_one else expit(logits)


def load(contents: Mapping[str, bytes], manifest: Manifest, device: str) -> Predictor:
    """Build the encoder of config.json with its weights, and the head that fits it."""
    ref = str(manifest.ref)
    if HEAD_FILE not in contents:
        raise ManifestInvalid(ref, f"artifacts: {HEAD_FILE} is missing")
    encoder = load_encoder(contents, manifest, device)
    head = safetensors.torch.load(contents[HEAD_FILE])
    _check_head(head, (len(manifest.labels), encoder.config.hidden_size), ref)
    return SentencePredictor(encoder, head, manifest)


def embed(encoder: Encoder, texts: TokenizedTexts, options: Options) -> Any:
    """Embeddings of at least one text: a float32 array (n, dimensions)."""

    def finish(output: Any, mask: torch.Tensor) -> torch.Tensor:
        return pool(output.last_hidden_state, mask, options).float()

    return encoder.run(texts, finish)


def pool(vectors: torch.Tensor, mask: torch.Tensor, options: Options) -> torch.Tensor:
    """Vectors of tokens (n, tokens, dimensions) and their mask to embeddings (n, dimensions)."""
    pooled = vectors[:, 0]
    if options.pooling == "mean":
        weights = mask.unsqueeze(2).to(vectors.dtype)
        pooled = (vectors * weights).sum(1) / weights.sum(1)
    return torch.nn.functional.normalize(pooled, dim=1) if options.normalize else pooled


def _check_head(head: Mapping[str, torch.Tensor], shape: tuple[int, int], ref: str) -> None:
    labels, dimensions = shape
    if head.keys() != HEAD_TENSORS:
        raise ArtifactInvalid(ref, f"{HEAD_FILE} must hold the tensors weight and bias")
    if list(head["weight"].shape) != [labels, dimensions] or list(head["bias"].shape) != [labels]:
        shapes = f"{list(head['weight'].shape)} and {list(head['bias'].shape)}"
        needed = f"{labels} labels of {dimensions} dimensions"
        raise ArtifactInvalid(ref, f"{HEAD_FILE} has the shapes {shapes}, needed are {needed}")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in head.values()):
        raise ArtifactInvalid(ref, f"{HEAD_FILE} holds NaN or infinite numbers")
