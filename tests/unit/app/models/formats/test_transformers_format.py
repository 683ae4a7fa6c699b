"""Hugging Face classifiers: the answers of transformers itself, and what is refused."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.contract import Chunk
from app.errors import ArtifactInvalid, ArtifactUnsafe, ManifestInvalid
from app.inference.engine import predict
from app.models.base import MULTI_LABEL, Ref
from app.models.catalog import read_manifest
from app.models.hugging_face_config import FAMILIES
from app.models.hugging_face_directory import describe
from app.models.loader import load
from app.preprocessing.subwords import TokenizedTexts
from tests.hugging_face_models import MAX_TOKENS, SIZES, build_transformer
from tests.models import LABELS, LIMITS, edit_manifest, entry, pin

TEXTS = ["good day", "Bad night!", "table, chair and window", "x", "great " * 100]


@pytest.fixture(params=FAMILIES, scope="module")
def any_model(request, tmp_path_factory):
    path = build_transformer(tmp_path_factory.mktemp("models"), family=request.param)
    return load(entry(path), LIMITS, "cpu")


def of_transformers(path, texts):
    """Probabilities (n, labels) by transformers' own pipeline, one text at a time."""
    from transformers import pipeline  # a second, for the processes that run other tests too

    ask = pipeline("text-classification", model=str(path), top_k=None, device="cpu")
    rows = ask(texts, truncation=True, max_length=MAX_TOKENS)
    found = [{item["label"]: item["score"] for item in row} for row in rows]
    return np.array([[row[label] for label in LABELS] for row in found])


def answer(model, texts):
    return model.predictor.predict_proba(model.pipeline.extract(texts))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("problem", [None, MULTI_LABEL])
def test_answers_are_those_of_transformers(family, problem, tmp_path):
    path = build_transformer(tmp_path, family=family, problem_type=problem)
    model = load(entry(path), LIMITS, "cpu")

    found = answer(model, TEXTS)

    expected = of_transformers(path, TEXTS)
    assert found == pytest.approx(expected, abs=1e-5)
    assert expected.max() - expected.min() > 0.1
    assert model.manifest.sums_to_one == (problem != MULTI_LABEL)


@pytest.mark.parametrize("family", FAMILIES)
def test_on_a_cpu_only_families_with_attention_of_their_own_are_padded(family, tmp_path):
    model = load(entry(build_transformer(tmp_path, family=family)), LIMITS, "cpu")

    assert model.pads == family.startswith("deberta")


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_tokens_of_modernbert_see_as_far_as_its_config_says(pooling, tmp_path):
    kinds = ["sliding_attention", "full_attention"]
    sizes = {"local_attention": 6, "layer_types": kinds, "classifier_pooling": pooling}
    path = build_transformer(tmp_path, family="modernbert", **sizes)
    model = load(entry(path), LIMITS, "cpu")

    assert answer(model, TEXTS) == pytest.approx(of_transformers(path, TEXTS), abs=1e-5)


@given(st.lists(st.lists(st.integers(4, 50), max_size=MAX_TOKENS).map(np.array), min_size=1))
@settings(max_examples=50, deadline=None)
def test_text_gets_the_answer_that_it_gets_alone(any_model, ids):
    texts = TokenizedTexts([row.astype(np.int64) for row in ids], [False] * len(ids))

    together = any_model.predictor.predict_proba(texts)

    alone = [any_model.predictor.predict_proba(texts[[row]]) for row in range(len(ids))]
    assert together == pytest.approx(np.vstack(alone), abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_limit_of_tokens_is_what_the_model_has_positions_for(family, tmp_path):
    path = build_transformer(tmp_path, family=family)

    assert read_manifest(path).pipeline[-1].options["max_tokens"] == MAX_TOKENS
    # One more, and the embeddings would be left.
    edit_manifest(path, pipeline=[step(MAX_TOKENS + 1)])
    with pytest.raises(ManifestInvalid, match=f"max_tokens: 25, the model reads at most {24}"):
        load(entry(path), LIMITS)


def step(max_tokens):
    return {
        "step": "subword_ids",
        "options": {"artifact": "tokenizer.json", "max_tokens": max_tokens},
    }


def test_long_text_is_cut_as_the_manifest_says_and_the_answer_says_so(tmp_path):
    path = build_transformer(tmp_path)
    edit_manifest(path, pipeline=[step(8)])
    model = load(entry(path), LIMITS, "cpu")
    texts = ["good " * 10_000, "good " * 6, "good " * 7]
    chunk = Chunk(ref=model.ref, texts=texts, deadline=1.0, request_ids=[])

    found = predict(model, chunk, max_batch_size=32, now=lambda: 0.0).outcomes

    assert [outcome.truncated for outcome in found] == [True, False, True]
    assert found[0].probabilities == pytest.approx(found[1].probabilities, abs=1e-6)


def test_length_of_each_text_is_known_before_it_is_computed(tmp_path):
    model = load(entry(build_transformer(tmp_path)), LIMITS, "cpu")

    tokens = model.pipeline.extract(["good day", "x", "good " * 100])

    assert tokens.lengths == [4, 3, MAX_TOKENS]
    pieces = [model.predictor.predict_proba(tokens[rows]) for rows in ([2, 0], [1])]
    whole = model.predictor.predict_proba(tokens)
    assert np.vstack(pieces) == pytest.approx(whole[[2, 0, 1]], abs=1e-5)


def test_half_precision_weights_are_computed_in_single_precision(tmp_path):
    path = build_transformer(tmp_path)
    expected = answer(load(entry(path), LIMITS, "cpu"), TEXTS)
    weights = safetensors.torch.load((path / "model.safetensors").read_bytes())
    rewrite(path, {name: tensor.half() for name, tensor in weights.items()})

    assert answer(load(entry(path), LIMITS, "cpu"), TEXTS) == pytest.approx(expected, abs=2e-2)


def rewrite(path, weights=None, **config):
    """Change weights or keys of config.json, and pin what came of it."""
    if weights is not None:
        (path / "model.safetensors").write_bytes(safetensors.torch.save(weights))
    described = json.loads((path / "config.json").read_text()) | config
    (path / "config.json").write_text(json.dumps(described))
    files = [row.file for row in read_manifest(path).artifacts]
    edit_manifest(path, artifacts=[pin(file, (path / file).read_bytes()) for file in files])


def altered(path, name, value):
    weights = safetensors.torch.load((path / "model.safetensors").read_bytes())
    return weights | {name: value(weights.get(name))}


def nan(tensor):
    tensor = tensor.clone()
    tensor[0] = float("nan")
    return tensor


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("classifier.bias", nan, r"classifier\.bias holds NaN or infinite"),
        ("classifier.bias", lambda _: torch.zeros(4), "its head has 4 outputs, config.json has 3"),
        ("backdoor", lambda _: torch.zeros(1), "backdoor is not in the architecture"),
        (
            "bert.pooler.dense.bias",
            lambda _: torch.zeros(33),
            r"the shape \[33\], the architecture has \[32\]",
        ),
    ],
    ids=["NaN", "other head", "one more", "other shape"],
)
def test_weights_must_fit_the_config(name, value, sentence, tmp_path):
    path = build_transformer(tmp_path)
    rewrite(path, altered(path, name, value))

    with pytest.raises(ArtifactInvalid, match=sentence):
        load(entry(path), LIMITS)


def test_weights_that_are_missing_are_not_made_up(tmp_path):
    path = build_transformer(tmp_path)
    weights = safetensors.torch.load((path / "model.safetensors").read_bytes())
    padding = {"other": torch.zeros(100_000)}
    del weights["classifier.bias"]
    rewrite(path, weights | padding)

    with pytest.raises(ArtifactInvalid, match=r"classifier\.bias is missing from the weights"):
        load(entry(path), LIMITS)


@pytest.mark.parametrize(
    ("config", "error", "sentence"),
    [
        ({"model_type": "gpt2"}, ArtifactInvalid, "unknown architecture 'gpt2'; there are: bert"),
        ({"model_type": None}, ArtifactInvalid, "Expected `str`"),
        ({"auto_map": {"AutoConfig": "evil.Config"}}, ArtifactUnsafe, "auto_map names code"),
        ({"quantization_config": {}}, ArtifactInvalid, "quantized"),
        ({"is_decoder": True}, ArtifactInvalid, "decoders are not supported"),
        ({"problem_type": "regression"}, ArtifactInvalid, "regression is not supported"),
        ({"problem_type": MULTI_LABEL}, ManifestInvalid, "problem_type: config.json says multi"),
        ({"architectures": ["BertForMaskedLM"]}, ArtifactInvalid, "BertForMaskedLM is not a model"),
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, ManifestInvalid, "labels: negative, "),
        ({"id2label": {"0": "negative"}}, ArtifactInvalid, "id2label needs two labels"),
        ({"id2label": {"0": "a", "1": "b", "2": ""}}, ArtifactInvalid, "none blank"),
        ({"id2label": {"1": "a", "2": "b"}}, ArtifactInvalid, "number its labels from 0 on"),
        ({"num_hidden_layers": 10**9}, ArtifactInvalid, "more than 1000 layers"),
        ({"vocab_size": 10**9}, ArtifactInvalid, "weights, the file has"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_config_that_cannot_be_served_is_refused(config, error, sentence, tmp_path):
    path = build_transformer(tmp_path)
    rewrite(path, **config)

    with pytest.raises(error, match=sentence):
        load(entry(path), LIMITS)


def test_what_a_config_asks_for_beside_its_sizes_is_not_done(tmp_path):
    path = build_transformer(tmp_path)
    expected = answer(load(entry(path), LIMITS), TEXTS)
    kernels = {"_attn_implementation": "somebody/kernels", "attn_implementation": "somebody/more"}
    rewrite(path, **kernels, return_dict=False, output_attentions=True)

    assert answer(load(entry(path), LIMITS), TEXTS) == pytest.approx(expected, abs=1e-6)


def test_labels_that_nobody_has_named_may_be_named_in_the_manifest(tmp_path):
    path = build_transformer(tmp_path, id2label={at: f"LABEL_{at}" for at in range(3)})
    edit_manifest(path, labels=["a", "b", "c"])

    assert load(entry(path), LIMITS).labels == ["a", "b", "c"]


def test_token_without_an_embedding_is_refused_before_the_forward_pass(tmp_path):
    model = load(entry(build_transformer(tmp_path)), LIMITS)
    tokens = model.pipeline.extract(["good day"])
    tokens._ids[0][1] = SIZES["vocab_size"]

    with pytest.raises(ValueError, match=r"token ids must be within 0\.\.73"):
        model.predictor.predict_proba(tokens)


def test_version_without_the_tokenizer_step_is_invalid(tmp_path):
    path = build_transformer(tmp_path)
    edit_manifest(path, pipeline=[])

    with pytest.raises(ManifestInvalid, match="the last step must be subword_ids"):
        load(entry(path), LIMITS)


def test_damaged_tokenizer_is_an_invalid_artifact_though_its_library_panics(tmp_path, capfd):
    path = build_transformer(tmp_path)
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    tokenizer["post_processor"]["special_tokens"] = {}
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    rewrite(path)

    with pytest.raises(ArtifactInvalid, match="the tokenizer cannot do what"):
        load(entry(path), LIMITS)


def test_pickled_weights_are_unsafe_whatever_the_manifest_says(tmp_path):
    path = build_transformer(tmp_path)
    (path / "pytorch_model.bin").write_bytes(b"pickle")
    described = describe(path, Ref("tiny", "v1"))
    pins = [pin("pytorch_model.bin", b"pickle"), *described.artifacts[1:]]
    edit_manifest(path, artifacts=pins)

    with pytest.raises(ArtifactUnsafe, match="weights must be safetensors"):
        load(entry(path), LIMITS)
