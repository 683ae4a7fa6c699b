"""PyTorch versions: weights that must fit, devices, and an installation without torch."""

import json
import struct
import sys

import numpy as np
import pytest
import torch

from app.errors import ArtifactInvalid, LibraryMissing, ManifestInvalid
from app.models.base import Ref
from app.models.catalog import Catalog
from app.models.formats import torch_format
from app.models.install import install
from app.models.loader import load
from app.models.registry import Registry
from tests.models import LIMITS, build_model, entry
from tests.torch_models import ARCHITECTURE, build_torch_model, weights


def altered(name, tensor):
    return weights() | {name: tensor}


def test_version_answers_with_the_weights_of_its_file(tmp_path):
    model = load(entry(build_torch_model(tmp_path)), LIMITS, "cpu")
    ids = model.pipeline.extract(["good day", "nothing known"])

    found = model.predictor.predict_proba(ids)

    module = torch_format.build(ARCHITECTURE)
    module.load_state_dict(weights())
    expected = torch.softmax(module.eval()(torch.from_numpy(ids)), 1).detach().numpy()
    assert found == pytest.approx(expected, abs=1e-6)
    assert found.dtype == np.float64
    assert model.device == "cpu"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    bias = weights()["output.bias"].clone()
    bias[0] = value
    path = build_torch_model(tmp_path, tensors=altered("output.bias", bias))

    with pytest.raises(ArtifactInvalid, match=r"output\.bias holds NaN or infinite"):
        load(entry(path), LIMITS)


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        (
            altered("output.bias", torch.zeros(4)),
            r"has the shape \[4\], the architecture has \[3\]",
        ),
        (altered("backdoor", torch.zeros(1)), "backdoor is not in the architecture"),
        ({}, "missing from the weights"),
    ],
    ids=["another shape", "one more", "none"],
)
def test_weights_must_fit_the_architecture(tmp_path, tensors, sentence):
    path = build_torch_model(tmp_path, tensors=tensors)

    with pytest.raises(ArtifactInvalid, match=sentence):
        load(entry(path), LIMITS)


@pytest.mark.parametrize(
    ("architecture", "sentence"),
    [
        ({"name": "transformer"}, "unknown name 'transformer'"),
        ({**ARCHITECTURE, "depth": 3}, "unknown field"),
        ({}, "unknown name None"),
    ],
)
def test_architecture_outside_the_table_is_invalid(tmp_path, architecture, sentence):
    path = build_torch_model(tmp_path, architecture=architecture)

    with pytest.raises(ManifestInvalid, match=sentence):
        load(entry(path), LIMITS)


def test_sizes_of_the_manifest_cost_no_memory_before_they_are_compared(tmp_path):
    """Ten million embeddings of 4096 numbers would be 164 GB."""
    huge = {**ARCHITECTURE, "vocabulary": 10_000_000, "dimensions": 4096}
    path = build_torch_model(tmp_path, architecture=huge)

    with pytest.raises(ArtifactInvalid, match="the architecture has"):
        load(entry(path), LIMITS)


def header(described):
    text = json.dumps(described).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        struct.pack("<Q", 1 << 40),
        header({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}),
        header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}) + bytes(8),
    ],
    ids=["empty", "garbage", "long header", "tensor of terabytes", "offsets backwards"],
)
def test_damaged_weights_are_an_invalid_artifact(tmp_path, content):
    files = {"model.safetensors": content}
    path = build_model(tmp_path, files=files, format="torch", architecture=ARCHITECTURE)

    with pytest.raises(ArtifactInvalid):
        load(entry(path), LIMITS)


@pytest.mark.parametrize("bad_id", [-1, ARCHITECTURE["vocabulary"]])
def test_id_outside_the_embeddings_is_refused_before_the_forward_pass(tmp_path, bad_id):
    model = load(entry(build_torch_model(tmp_path)), LIMITS)

    with pytest.raises(ValueError, match="token ids must be within"):
        model.predictor.predict_proba(np.array([[bad_id]]))


@pytest.fixture
def torch_version_without_torch(tmp_path, monkeypatch):
    """A PyTorch version on disk, and a process that cannot import torch."""
    path = build_torch_model(tmp_path, version="v2")
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "app.models.formats.torch_format")
    return path


def test_without_torch_the_reason_says_what_to_install(torch_version_without_torch):
    with pytest.raises(LibraryMissing, match=r"torch is not installed; .* '\.\[torch\]'"):
        load(entry(torch_version_without_torch), LIMITS)


def test_without_torch_everything_else_is_served(torch_version_without_torch, tmp_path):
    build_model(tmp_path, version="v1")
    registry = Registry(LIMITS, "auto")

    changes = registry.reconcile(Catalog(tmp_path, "tiny").entries())

    assert (changes.loaded, changes.failed) == (["tiny-v1"], ["tiny-v2"])
    assert "torch is not installed" in registry.held()[1].error


def test_without_torch_a_version_can_still_be_installed(torch_version_without_torch, tmp_path):
    found = install(torch_version_without_torch, tmp_path / "models", LIMITS)

    assert found == (Ref("tiny", "v2"), True)
