"""Worker process. Hugging Face sequence classifiers: config.json, tokenizer.json, safetensors.

The manifest's last step is `subword_ids` with tokenizer.json, so that what is predicted here are
token ids. Answers are those of transformers' own text-classification pipeline.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import torch

from app.errors import ManifestInvalid
from app.models.base import Manifest, Predictor
from app.models.hugging_face import Encoder, load_encoder, no_answers
from app.models.hugging_face_config import (
    CLASSIFIER,
    CONFIG_FILE,
    check_classifier,
    check_config,
    labels_of,
    problem_type_of,
)
from app.preprocessing.subwords import TokenizedTexts

# What transformers calls labels that nobody has named.
UNNAMED = "LABEL_"


class TransformerPredictor:
    """Token ids to probabilities: softmax over the labels, or a sigmoid for each of them."""

    def __init__(self, encoder: Encoder, manifest: Manifest) -> None:
        self.device, self.pads = encoder.device, encoder.pads
        self._encoder = encoder
        self._labels = len(manifest.labels)
        self._activate = _softmax if manifest.sums_to_one else torch.sigmoid

    def predict_proba(self, features: TokenizedTexts) -> Any:
        """Token ids of n texts to a float64 array (n, labels); n may be 0."""
        if len(features) == 0:
            return no_answers(self._labels)
        return self._encoder.run(features, lambda output, _: self._activate(output.logits.double()))


def load(contents: Mapping[str, bytes], manifest: Manifest, device: str) -> Predictor:
    """Build the classifier of config.json with these weights; labels must be those of its head."""
    if CONFIG_FILE in contents:
        config = msgspec.json.decode(contents[CONFIG_FILE])
        _check_manifest(check_config(config, str(manifest.ref)), manifest)
    encoder = load_encoder(contents, manifest, device, CLASSIFIER)
    return TransformerPredictor(encoder, manifest)


def _softmax(logits: torch.Tensor) -> torch.Tensor:
    return torch.softmax(logits, dim=1)


def _check_manifest(config: dict[str, Any], manifest: Manifest) -> None:
    ref = str(manifest.ref)
    found, problem = labels_of(config, ref), problem_type_of(config, ref)
    check_classifier(config, ref)
    if problem != manifest.problem_type:
        raise ManifestInvalid(ref, f"problem_type: {CONFIG_FILE} says {problem}")
    is_named = not all(label.startswith(UNNAMED) for label in found)
    if len(found) != len(manifest.labels) or (is_named and found != manifest.labels):
        seen, said = ", ".join(found)[:200], ", ".join(manifest.labels)[:200]
        raise ManifestInvalid(ref, f"labels: {said}; those of {CONFIG_FILE} are {seen}")
