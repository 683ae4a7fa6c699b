"""Labelled texts for training tests: enough for every recipe, learned in a second."""

import importlib

import pytest

from app.training.data import Labelled
from app.training.recipes.minilm import PACKAGE
from tests.hugging_face_models import save_encoder

WORDS = {
    "bad": "awful dull slow boring weak",
    "fine": "usual plain even average common",
    "good": "great lovely clever moving strong",
}


@pytest.fixture(scope="session")
def labelled():
    """240 texts of three labels; words tell the label."""
    rows = Labelled([], [])
    for label, words in WORDS.items():
        for at in range(80):
            chosen = words.split()
            rows.texts.append(f"Film {at} is {chosen[at % 5]} and {chosen[(at + 1) % 5]}!")
            rows.labels.append(label)
    return rows


@pytest.fixture(scope="session", autouse=True)
def encoder_package(tmp_path_factory):
    """A package like that of MiniLM, with a small random encoder instead of one of 90 MB."""
    folder = tmp_path_factory.mktemp("packages")
    save_encoder(folder / PACKAGE / "model", hidden_size=64)
    (folder / PACKAGE / "__init__.py").write_text('raise RuntimeError("only its files are used")')
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        importlib.invalidate_caches()
        yield folder
