"""What the command line knows of every version."""

from app.fleet import Fleet
from app.settings import Settings
from cli.inventory import rows
from tests.models import build_model


def test_one_version_is_the_default_whatever_models_are_called(tmp_path):
    build_model(tmp_path, "sentiment", "v2")
    build_model(tmp_path, "sentiment-v2", "v1")
    settings = Settings(models_dir=str(tmp_path), default_model="sentiment-v2")

    found = rows(settings, Fleet(reachable=False, reason="Redis cannot be reached"))

    assert [row.ref for row in found if row.default] == ["sentiment-v2-v1"]
