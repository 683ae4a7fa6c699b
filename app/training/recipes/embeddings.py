"""Worker process. `embedding-bag`: PyTorch, embeddings of tokens learned from the texts alone."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import safetensors.torch
import torch
from torch import Tensor, nn

from app.models.base import StepSpec
from app.models.formats.torch_architectures import build
from app.preprocessing.features import FIRST_TOKEN, PADDING, UNKNOWN
from app.preprocessing.pipeline import Pipeline
from app.training.data import Labelled
from app.training.recipes import Progress, Trained
from app.training.recipes.cleaning import SOCIAL
from app.training.vocabulary import learn_tokens

WEIGHTS_FILE = "model.safetensors"
VOCABULARY_FILE = "vocabulary.json"

MIN_COUNT = 2
# 30,000 embeddings of 64 half-precision numbers are 3.8 MB.
MAX_VOCABULARY = 30_000
MAX_TOKENS = 96
DIMENSIONS = 64
DROPOUT = 0.4
MIN_EPOCHS = 6
# A small file is gone through more often: too few steps would leave the weights at random.
MIN_STEPS = 200
BATCH_TEXTS = 64
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-2
# Embeddings of torch's usual scale (1.0) take most of the epochs to shrink.
INITIAL_SCALE = 0.1
# So often a token is hidden, so that the model learns what an unknown one is.
HIDDEN_SHARE = 0.1


def train(rows: Labelled, seed: int, progress: Progress) -> Trained:
    """Adam with one learning-rate cycle; the same seed gives the same weights on one machine."""
    progress("learning the vocabulary", 0.0)
    cleaner = Pipeline.build(SOCIAL, dict[str, Any]().__getitem__)
    cleaned = [cleaner.clean(text) for text in rows.texts]
    tokens = learn_tokens(cleaned, MIN_COUNT, MAX_VOCABULARY)
    options = {"artifact": VOCABULARY_FILE, "max_tokens": MAX_TOKENS}
    specs = [*SOCIAL, StepSpec(step="token_ids", options=options)]
    pipeline = Pipeline.build(specs, lambda file: tokens)

    names = rows.names()
    architecture = {
        "name": "embedding_bag",
        "vocabulary": FIRST_TOKEN + len(tokens),
        "dimensions": DIMENSIONS,
        "labels": len(names),
        "dropout": DROPOUT,
    }
    token_ids = torch.from_numpy(pipeline.extract(cleaned))
    targets = torch.tensor([names.index(label) for label in rows.labels])
    with _one_thread():
        module = _fit(architecture, token_ids, targets, seed, progress)
    weights = _halve(module)
    return Trained(
        format="torch",
        specs=specs,
        artifacts={WEIGHTS_FILE: weights, VOCABULARY_FILE: msgspec.json.encode(tokens)},
        pipeline=pipeline,
        predict_proba=lambda ids: _predict(module, ids),
        libraries={"torch": torch.__version__.partition("+")[0]},
        features=[f"learned embeddings of {len(tokens)} tokens, {DIMENSIONS} dimensions"],
        architecture=architecture,
        embed=lambda ids: _embed(module, ids),
    )


def _fit(
    architecture: dict[str, Any], ids: Tensor, targets: Tensor, seed: int, progress: Progress
) -> nn.Module:
    batches = math.ceil(len(ids) / BATCH_TEXTS)
    epochs = max(MIN_EPOCHS, math.ceil(MIN_STEPS / batches))
    # A fork, so that the caller's own random numbers are left alone.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _fresh(architecture)
        optimizer = torch.optim.AdamW(module.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, LEARNING_RATE, total_steps=epochs * batches, pct_start=0.1
        )
        for step, rows in enumerate(_batches(len(ids), epochs)):
            progress("learning the embeddings", 0.1 + 0.8 * step / (epochs * batches))
            logits = module(_hide(_trim(ids[rows])))
            loss: Any = nn.functional.cross_entropy(logits, targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return module.eval()


def _fresh(architecture: dict[str, Any]) -> nn.Module:
    """The module before it has learned, in training mode."""
    module: Any = build(architecture)
    with torch.no_grad():
        module.embeddings.weight.normal_(std=INITIAL_SCALE)
        module.embeddings.weight[PADDING] = 0
    fresh: nn.Module = module.train()
    return fresh


@contextmanager
def _one_thread() -> Iterator[None]:
    """Small batches are learned faster by one thread, and sums keep their order on any machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _batches(texts: int, epochs: int) -> Iterator[Tensor]:
    """Row numbers of every batch of every epoch."""
    for _ in range(epochs):
        order = torch.randperm(texts)
        for start in range(0, texts, BATCH_TEXTS):
            yield order[start : start + BATCH_TEXTS]


def _trim(ids: Tensor) -> Tensor:
    """Without the columns that are padding in every row."""
    return ids[:, : max(1, int((ids != PADDING).sum(1).max()))]


def _hide(ids: Tensor) -> Tensor:
    hidden = (torch.rand(ids.shape) < HIDDEN_SHARE) & (ids != PADDING)
    return torch.where(hidden, UNKNOWN, ids)


def _halve(module: nn.Module) -> bytes:
    """Weights in half precision; the module is rounded too, so that figures are of what is kept."""
    halved = {name: tensor.half() for name, tensor in module.state_dict().items()}
    module.load_state_dict(halved)
    return safetensors.torch.save(halved)


def _predict(module: nn.Module, ids: Any) -> Any:
    with torch.inference_mode():
        return torch.softmax(module(torch.from_numpy(ids)).double(), dim=1).numpy()


def _embed(module: Any, ids: Any) -> Any:
    with torch.inference_mode():
        return module.embed(torch.from_numpy(ids)).numpy()
