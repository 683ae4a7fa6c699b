"""docs/models.md says what the code does: its keys, steps, codes and example are the real ones."""

import re
import runpy
from pathlib import Path

import msgspec
import pytest

from app import errors
from app.models.archives import SUFFIXES
from app.models.base import Artifact, ClassFigures, Manifest, Metadata, StepSpec, TrainingData
from app.models.catalog import Catalog
from app.models.formats import FORMATS
from app.models.install import COMPANIONS, install
from app.models.loader import load
from app.preprocessing.pipeline import STEPS
from tests.models import LIMITS

PAGE = (Path(__file__).parents[2] / "docs/models.md").read_text(encoding="utf-8")
CODED = set(re.findall(r"`([^`\n]+)`", PAGE))


def keys(*documents):
    return [field.name for document in documents for field in msgspec.structs.fields(document)]


@pytest.mark.parametrize(
    "key", keys(Manifest, Artifact, StepSpec, Metadata, ClassFigures, TrainingData)
)
def test_every_key_of_a_manifest_is_described(key):
    assert key in CODED


@pytest.mark.parametrize("name", [*STEPS, *FORMATS, *SUFFIXES, *COMPANIONS])
def test_every_step_format_and_file_is_described(name):
    assert name in CODED


def kinds(error):
    return [kind for one in error.__subclasses__() for kind in kinds(one) or [one]]


@pytest.mark.parametrize("error", kinds(errors.ModelError), ids=lambda error: error.__name__)
def test_every_reason_for_a_version_to_be_unavailable_is_described(error):
    assert f"| `{error.code}` |" in PAGE


def test_example_gives_a_version_that_can_be_taken_in_and_answers(tmp_path, monkeypatch):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "example.py").write_text(example)
    monkeypatch.chdir(tmp_path)
    runpy.run_path("example.py")

    ref, is_new = install(tmp_path / "spam-v1", tmp_path / "models", LIMITS)

    model = load(Catalog(tmp_path / "models", "spam").get(ref), LIMITS)
    found = model.predictor.predict_proba(["buy cheap pills"])
    assert (str(ref), is_new) == ("spam-v1", True)
    assert model.labels[int(found.argmax())] == "spam"
