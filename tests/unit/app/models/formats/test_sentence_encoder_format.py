"""Sentence encoders with a head: embeddings as transformers gives them, heads that must fit."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from app.errors import ArtifactInvalid, ManifestInvalid
from app.models.base import MULTI_LABEL
from app.models.hugging_face_config import FAMILIES
from app.models.loader import load
from tests.hugging_face_models import MAX_TOKENS, build_sentence_encoder, random_head
from tests.models import LIMITS, edit_manifest, entry

TEXTS = ["good day", "Bad night!", "table, chair and window", "great " * 100]


def answer(model, texts):
    return model.predictor.predict_proba(model.pipeline.extract(texts))


def logits_of_transformers(path, pooling, is_normal):
    """One text at a time: no padding, so that the mean is the plain one."""
    module, head = AutoModel.from_pretrained(path).eval(), random_head()
    ask = AutoTokenizer.from_pretrained(path)
    rows = []
    for text in TEXTS:
        given = ask(text, return_tensors="pt", truncation=True, max_length=MAX_TOKENS)
        with torch.inference_mode():
            vectors = module(given.input_ids, attention_mask=given.attention_mask)[0][0]
        vector = vectors.mean(0) if pooling == "mean" else vectors[0]
        vector = vector / vector.norm() if is_normal else vector
        rows.append(head["weight"] @ vector + head["bias"])
    return torch.stack(rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_those_of_a_head_on_pooled_vectors(family, tmp_path):
    path = build_sentence_encoder(tmp_path, family=family)

    found = answer(load(entry(path), LIMITS, "cpu"), TEXTS)

    expected = torch.softmax(logits_of_transformers(path, "mean", True), 1).numpy()
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("is_normal", [True, False])
def test_pooling_is_what_the_manifest_says(pooling, is_normal, tmp_path):
    options = {"pooling": pooling, "normalize": is_normal}
    path = build_sentence_encoder(tmp_path, architecture=options, problem_type=MULTI_LABEL)

    found = answer(load(entry(path), LIMITS, "cpu"), TEXTS)

    expected = torch.sigmoid(logits_of_transformers(path, pooling, is_normal)).numpy()
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        ({"weight": torch.zeros(3, 31), "bias": torch.zeros(3)}, r"\[3, 31\].*3 labels of 32"),
        ({"weight": torch.zeros(2, 32), "bias": torch.zeros(2)}, r"\[2, 32\].*3 labels of 32"),
        ({"weight": torch.zeros(3, 32)}, "the tensors weight and bias"),
        ({"weight": torch.full((3, 32), np.nan), "bias": torch.zeros(3)}, "NaN"),
    ],
    ids=["dimensions", "labels", "no bias", "NaN"],
)
def test_head_must_fit_encoder_and_labels(head, sentence, tmp_path):
    path = build_sentence_encoder(tmp_path, head=head)

    with pytest.raises(ArtifactInvalid, match=sentence):
        load(entry(path), LIMITS)


def test_unknown_pooling_is_an_invalid_manifest(tmp_path):
    path = build_sentence_encoder(tmp_path, architecture={"pooling": "max"})

    with pytest.raises(ManifestInvalid, match="architecture: Invalid enum value 'max'"):
        load(entry(path), LIMITS)


def test_encoder_without_a_head_is_an_invalid_manifest(tmp_path):
    path = build_sentence_encoder(tmp_path)
    kept = [row for row in entry(path).manifest.artifacts if row.file != "head.safetensors"]
    edit_manifest(path, artifacts=kept)

    with pytest.raises(ManifestInvalid, match=r"head\.safetensors is missing"):
        load(entry(path), LIMITS)
