"""The part of an encoder that knows about devices: memory and precision."""

import numpy as np
import pytest
import torch

from app.models.hugging_face import Encoder
from app.preprocessing.subwords import TokenizedTexts
from tests.hugging_face_models import save_classifier

ONE = TokenizedTexts([np.array([2, 5, 3])], [False])


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    import transformers

    path = save_classifier(tmp_path_factory.mktemp("models") / "tiny", "bert")
    return transformers.AutoModelForSequenceClassification.from_pretrained(path).eval()


def logits(encoder):
    return encoder.run(ONE, lambda output, _: output.logits)


def test_lack_of_gpu_memory_is_told_as_lack_of_memory(module, monkeypatch):
    def forward(**_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module, "forward", forward)

    with pytest.raises(MemoryError):
        logits(Encoder(module, "cpu"))


def test_half_precision_is_left_to_gpus(module):
    assert np.array_equal(logits(Encoder(module, "cpu", "float16")), logits(Encoder(module, "cpu")))


def test_autocast_computes_in_the_precision_of_the_manifest(module, monkeypatch):
    encoder = Encoder(module, "cpu")
    monkeypatch.setattr(encoder, "_precision", "bfloat16")

    found = encoder.run(ONE, lambda output, _: torch.tensor(output.logits.dtype == torch.bfloat16))

    assert found
