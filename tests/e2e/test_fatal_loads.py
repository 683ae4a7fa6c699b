"""A version that ends every worker which loads it: what operators see, and that others serve."""

import json

import pytest

from app.models.fatal_loads import LOADS_DIR
from tests.bad_versions import Fatal
from tests.e2e.serving import Serve
from tests.models import activate, build_model, build_pickle

REASON = "tiny-v2: loading it ended its worker 3 times in a row; it is tried again after "


@pytest.fixture
def serve(tmp_path):
    """`mlserve serve` with `tiny-v1`, and `tiny-v2`, which comes later and is fatal."""
    build_model(tmp_path)
    activate(tmp_path, tiny="v1")
    changes = {"default_model": "tiny", "limits": {"allow_pickle": True}}
    with Serve(tmp_path, **changes) as serve:
        build_pickle(serve.models_dir, Fatal(), version="v2")
        yield serve


def test_version_that_ends_its_worker_is_refused_at_last_and_the_active_one_serves(serve):
    swapped = serve.run("swap", "tiny", "v2")
    asked_again = serve.run("swap", "tiny", "v2")

    assert REASON in swapped.stdout
    assert REASON in asked_again.stdout
    assert swapped.returncode == asked_again.returncode == 1
    assert serve.logs().count("SIGKILL") == 3
    assert serve.post("/predict", {"text": "good day"})["model_version"] == "tiny-v1"
    row = next(row for row in models(serve) if row["ref"] == "tiny-v2")
    assert (row["status"], row["code"]) == ("failed", "load_ended_worker")
    assert REASON in row["error"]

    # Whoever starts it again wants a new try.
    serve.stop()
    assert not (serve.directory / "state" / LOADS_DIR).exists()


def models(serve):
    return json.loads(serve.run("list", "--json").stdout)["models"]
