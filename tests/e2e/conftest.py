"""A small model for the end-to-end tests, trained as a user trains one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.swapping import STRENGTHS, Stack, Trickle, follows
from tests.models import activate, build_model

GOOD = ("love", "great", "wonderful", "lovely", "amazing")
BAD = ("hate", "awful", "terrible", "horrible", "boring")
THINGS = ("movie", "book", "phone", "place", "staff", "plot")


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A models directory with one small version, made by `mlserve train`."""
    directory = tmp_path_factory.mktemp("trained")
    words = [(word, "positive") for word in GOOD] + [(word, "negative") for word in BAD]
    rows = [
        f"{thing} {number}: {word} {thing},{label}"
        for number in range(5)
        for thing in THINGS
        for word, label in words
    ]
    data = directory / "reviews.csv"
    data.write_text("\n".join(["text,label", *rows]))
    name, recipe = ("--name", "sentiment", "--version", "v1"), ("--recipe", "tfidf-logreg")
    models = ("--models-dir", str(directory / "models"))
    argv = [
        str(Path(sys.executable).parent / "mlserve"),
        "train",
        str(data),
        *name,
        *recipe,
        *models,
        "--json",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=True)
    assert json.loads(done.stdout)["metadata"]["accuracy"] == 1.0
    (directory / "models/active.json").write_text('{"sentiment": "v1"}')
    return directory / "models"


@pytest.fixture
def figures(request, record_property, capsys):
    """Call it with what was measured: printed, and kept in the JUnit report."""

    def show(**measured):
        for name, value in measured.items():
            record_property(name, value)
        with capsys.disabled():
            print(f"\n{request.node.name}: {measured}")

    return show


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Workers and API processes whose versions a module swaps."""
    root = tmp_path_factory.mktemp("models")
    for ref in ("tiny-v1", "tiny-v2"):
        build_model(root, *ref.split("-"), strength=STRENGTHS[ref])
    activate(root, tiny="v1")
    stack = Stack(root)
    with stack.running():
        yield stack


@pytest.fixture
def trickle(stack):
    """Predictions while the test runs; all are checked at its end."""
    with Trickle(stack) as trickle:
        yield trickle
    trickle.check()


@pytest.fixture
def on_v1(stack):
    """tiny-v1 is active in both API processes."""
    stack.ask("POST", "/models/tiny/swap", {"version": "v1"})
    follows(stack, "tiny-v1")
