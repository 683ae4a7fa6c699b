"""Where the command line has its predictions from."""

from app.settings import Settings
from cli.sources import LocalSource
from tests.models import build_model
from tests.unit.app.inference.test_engine import POISON, poisoned


def test_text_that_memory_is_too_short_for_says_so(tmp_path, monkeypatch):
    build_model(tmp_path, "sentiment", "v1")
    source = LocalSource(Settings(models_dir=str(tmp_path)), None)
    registry = source._gateway._registry
    watched = poisoned(registry.get("sentiment-v1"), "extract")
    watched.pipeline.error = MemoryError
    monkeypatch.setattr(registry, "get", lambda ref: watched)

    good, bad = source.classify(["good day", POISON])

    assert good["label"] == "positive"
    assert bad["error"]["code"] == "text_out_of_memory"
