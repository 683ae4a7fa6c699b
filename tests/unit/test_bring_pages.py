"""Each page about bringing one's own model: what it has a reader run works as it is written."""

import csv

import torch
from safetensors.torch import load_file

from app.training.recipes.minilm import PACKAGE
from tests.hugging_face_models import save_classifier, save_encoder
from tests.models import LABELS, WORDS, build_model
from tests.onnx_models import build_onnx_tokens
from tests.pages import Page


def test_transformer_is_converted_loaded_and_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint = save_classifier(tmp_path / "checkpoint")
    torch.save(load_file(checkpoint / "model.safetensors"), checkpoint / "pytorch_model.bin")
    (checkpoint / "model.safetensors").unlink()
    page = Page("bring-transformers.md", tmp_path)

    page.run_python()
    loaded, predicted = page.run_commands()

    assert "reviews-bert installed" in loaded
    assert all(label in predicted for label in LABELS)
    assert "answered by reviews-bert" in predicted


def test_sentence_encoder_is_trained_or_brought(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_encoder(tmp_path / "packages" / PACKAGE / "model")
    (tmp_path / "packages" / PACKAGE / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "packages")
    with (tmp_path / "reviews.csv").open("w", newline="") as file:
        rows = [(f"{words} {at}", label) for label, words in WORDS.items() for at in range(30)]
        csv.writer(file).writerows([("text", "label"), *rows])
    save_encoder(tmp_path / "my-encoder")
    # As sentence-transformers writes them.
    (tmp_path / "my-encoder" / "1_Pooling").mkdir()
    page = Page("bring-sentence-encoder.md", tmp_path)

    page.run_python()
    trained, predicted, loaded, told = page.run_commands()

    assert "accuracy" in trained
    assert "answered by reviews-minilm" in predicted
    assert "spam-encoder installed" in loaded
    assert "answered by spam-encoder" in told


def test_onnx_models_are_exported_loaded_and_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build_model(tmp_path / "models", "sentiment", "v2")
    made = build_onnx_tokens(tmp_path / "made")
    made.rename(tmp_path / "reviews-onnx")
    page = Page("bring-onnx.md", tmp_path)

    page.run_python()
    exported, loaded, predicted, taken, told = page.run_commands()

    assert "sentiment-v2onnx written to sentiment-v2onnx" in exported
    assert "sentiment-v2onnx installed" in loaded
    assert "positive" in predicted
    assert "reviews-onnx installed" in taken
    assert "answered by reviews-onnx" in told
