"""Labelled texts for training tests: enough for every recipe, learned in a second."""

import pytest

from app.training.data import Labelled

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
