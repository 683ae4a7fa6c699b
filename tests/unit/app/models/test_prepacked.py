"""Linear layers with prepacked weights: the same vectors, and where they stay as they are."""

import platform

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.models.prepacked import X86, PrepackedLinear, prepack

sizes = st.integers(1, 70)

pytestmark = pytest.mark.skipif(platform.machine() not in X86, reason="for x86 processors")


@given(tokens=sizes, inputs=sizes, outputs=sizes, has_bias=st.booleans())
def test_vectors_are_those_of_the_plain_layer(tokens, inputs, outputs, has_bias):
    plain = torch.nn.Linear(inputs, outputs, bias=has_bias)
    vectors = torch.randn(1, tokens, inputs)

    with torch.inference_mode():
        found, expected = PrepackedLinear(plain)(vectors), plain(vectors)

    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=1e-5)


def layers():
    inner = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.GELU())
    return torch.nn.ModuleDict({"inner": inner, "head": torch.nn.Linear(4, 2)})


def kinds(module):
    return [type(module["inner"][0]), type(module["head"])]


def test_layers_are_replaced_at_any_depth():
    module = layers()

    prepack(module)

    assert kinds(module) == [PrepackedLinear, PrepackedLinear]


def test_weights_are_kept_once():
    module = layers()

    prepack(module)

    assert not [name for name, _ in module.named_parameters() if name.endswith("weight")]


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("platform.machine", lambda: "aarch64"),
        ("torch.backends.mkldnn.is_available", lambda: False),
    ],
)
def test_layers_stay_as_they_are_on_other_processors(where, what, monkeypatch):
    monkeypatch.setattr(where, what)
    module = layers()

    prepack(module)

    assert kinds(module) == [torch.nn.Linear, torch.nn.Linear]


def test_layers_stay_as_they_are_where_torch_lacks_an_operator(monkeypatch):
    monkeypatch.setattr("app.models.prepacked.OPERATORS", ("_linear_of_another_torch",))
    module = layers()

    prepack(module)

    assert kinds(module) == [torch.nn.Linear, torch.nn.Linear]
