"""Small Hugging Face directories for tests: real architectures, seeded weights, no hub.

path = save_classifier(tmp_path / "tiny", "bert")     # as save_pretrained writes it
path = build_transformer(tmp_path)                    # as a version of a models directory
"""

import os
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import safetensors.torch
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from app.models.base import Manifest, Ref, StepSpec
from app.models.hugging_face_config import FAMILIES
from app.models.hugging_face_directory import describe
from tests.models import LABELS, WORDS, pin, write_manifest

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SUBWORDS = [*LETTERS, *[f"##{letter}" for letter in LETTERS], "!", ".", ","]
TOKENS = [*SPECIAL, *SUBWORDS, *[word for words in WORDS.values() for word in words.split()]]
MAX_TOKENS = 24
SIZES = {
    "vocab_size": len(TOKENS),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    # Large, so that texts differ.
    "initializer_range": 0.5,
    "pad_token_id": 0,
    "max_position_embeddings": MAX_TOKENS,
}
DISTILBERT_NAMES = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
}


def tokenizer() -> Tokenizer:
    """A WordPiece tokenizer that knows the words of `tests.models`, and letters."""
    ids = {token: at for at, token in enumerate(TOKENS)}
    made = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=ends
    )
    return made


def sizes(family: str, **changes: Any) -> dict[str, Any]:
    """Keywords of a family's config class."""
    plain = SIZES | {"id2label": dict(enumerate(LABELS))}
    if family in ("roberta", "xlm-roberta"):
        plain |= {"max_position_embeddings": MAX_TOKENS + 1}
    if family == "distilbert":
        plain = {DISTILBERT_NAMES.get(key, key): value for key, value in plain.items()}
    if family == "modernbert":
        ends = dict.fromkeys(("bos_token_id", "cls_token_id"), 2)
        plain |= ends | dict.fromkeys(("eos_token_id", "sep_token_id"), 3)
    return plain | changes


def save(folder: Path, family: str, kind: str, **changes: Any) -> Path:
    """Write the directory of a random model of the class that begins as the family's do."""
    config_class = getattr(transformers, f"{FAMILIES[family]}Config")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        module = getattr(transformers, f"{FAMILIES[family]}{kind}")(
            config_class(**sizes(family, **changes))
        )
    module.save_pretrained(folder)
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL, strict=True))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer(), model_max_length=MAX_TOKENS, **names
    ).save_pretrained(folder)
    return folder


def save_classifier(folder: Path, family: str = "bert", **changes: Any) -> Path:
    """Write a directory with config.json, tokenizer.json and model.safetensors."""
    return save(folder, family, "ForSequenceClassification", **changes)


def build_transformer(
    root: Path, name: str = "tiny", version: str = "v1", family: str = "bert", **changes: Any
) -> Path:
    """Write `root`/name/version with the manifest that `mlserve load` would write."""
    path = save_classifier(root / name / version, family, **changes)
    write_manifest(path, describe(path, Ref(name, version)))
    return path


def save_encoder(folder: Path, family: str = "bert", **changes: Any) -> Path:
    """Write the directory of a model without a head, as sentence encoders come."""
    return save(folder, family, "Model", **changes)


def random_head() -> dict[str, torch.Tensor]:
    """Seeded weights for the labels of `tests.models`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        return {"weight": torch.randn(len(LABELS), 32), "bias": torch.randn(len(LABELS))}


def build_sentence_encoder(
    root: Path,
    name: str = "tiny",
    version: str = "v1",
    *,
    family: str = "bert",
    head: dict[str, torch.Tensor] | None = None,
    **manifest: Any,
) -> Path:
    """Write `root`/name/version with a random encoder and this head, or `random_head`."""
    path = save_encoder(root / name / version, family)
    tensors = random_head() if head is None else head
    (path / "head.safetensors").write_bytes(safetensors.torch.save(tensors))
    files = ("model.safetensors", "head.safetensors", "config.json", "tokenizer.json")
    options = {"artifact": "tokenizer.json", "max_tokens": MAX_TOKENS}
    fields: dict[str, Any] = {
        "name": name,
        "version": version,
        "format": "sentence_encoder",
        "labels": list(LABELS),
        "artifacts": [pin(file, (path / file).read_bytes()) for file in files],
        "pipeline": [StepSpec(step="subword_ids", options=options)],
    }
    write_manifest(path, Manifest(**(fields | manifest)))
    return path
