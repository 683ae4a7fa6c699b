"""The part of an encoder that knows about devices: memory and precision."""

import numpy as np
import pytest
import torch

from app.models.hugging_face import Encoder
from app.preprocessing.subwords import TokenizedTexts
from tests.hugging_face_models import save_classifier

ONE = TokenizedTexts([np.array([2, 5, 3])], [False])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return save_classifier(tmp_path_factory.mktemp("models") / "tiny", "bert")


@pytest.fixture
def module(path):
    return read(path)


def read(path):
    import transformers

    return transformers.AutoModelForSequenceClassification.from_pretrained(path).eval()


def logits(encoder):
    return encoder.run(ONE, lambda output, _: output.logits)


def test_lack_of_gpu_memory_is_told_as_lack_of_memory(module, monkeypatch):
    def forward(**_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module, "forward", forward)

    with pytest.raises(MemoryError):
        logits(Encoder(module, "cpu"))


def test_half_precision_is_left_to_gpus(path):
    half, single = Encoder(read(path), "cpu", "float16"), Encoder(read(path), "cpu")

    assert np.array_equal(logits(half), logits(single))


def test_autocast_computes_in_the_precision_of_the_manifest(module, monkeypatch):
    # As on a GPU, where texts are padded.
    monkeypatch.setattr("app.models.hugging_face.is_packable", lambda module: False)
    encoder = Encoder(module, "cpu")
    monkeypatch.setattr(encoder, "_precision", "bfloat16")

    found = encoder.run(ONE, lambda output, _: torch.tensor(output.logits.dtype == torch.bfloat16))

    assert found
