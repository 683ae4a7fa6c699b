"""Each page about bringing one's own model: what it has a reader run works as it is written."""

import torch
from safetensors.torch import load_file

from tests.hugging_face_models import save_classifier
from tests.models import LABELS
from tests.pages import Page


def test_transformer_is_converted_loaded_and_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint = save_classifier(tmp_path / "checkpoint")
    torch.save(load_file(checkpoint / "model.safetensors"), checkpoint / "pytorch_model.bin")
    (checkpoint / "model.safetensors").unlink()
    page = Page("bring-transformers.md", tmp_path)

    page.run_python()
    loaded, predicted = page.run_commands()

    assert "reviews-v1 installed" in loaded
    assert all(label in predicted for label in LABELS)
    assert "answered by reviews-v1" in predicted
