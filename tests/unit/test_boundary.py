"""The two halves of the system do not load each other's libraries."""

import subprocess
import sys
from functools import cache

import pytest

MODEL_LIBRARIES = ["torch", "sklearn", "numpy", "scipy", "skops", "joblib", "app.models.loader"]
# Where it is installed, redis-py imports the rest of it for its own metrics.
TRACING_LIBRARIES = ["opentelemetry.exporter.otlp", "opentelemetry.sdk.trace.export"]
HTTP_LIBRARIES = ["flask", "flask_smorest", "marshmallow", "werkzeug", "app.api"]

CREATE_APP = """
from app.api import create_app
from app.settings import Settings
app = create_app(Settings(models_dir="nowhere"))
app.test_client().get("/health/live")
"""


WORKER = """
import tasks.host
import app.models.formats.skops_format
"""


@cache
def loaded(code):
    """The modules of a process of its own that has run `code`."""
    report = f"import sys\n{code}\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return frozenset(run.stdout.split())


def test_api_process_loads_no_model_library():
    assert loaded(CREATE_APP).isdisjoint(MODEL_LIBRARIES)


def test_worker_process_loads_no_http_library():
    assert loaded(WORKER).isdisjoint(HTTP_LIBRARIES)


def test_scikit_learn_models_load_without_torch():
    assert "torch" not in loaded(WORKER)


@pytest.mark.parametrize("code", [CREATE_APP, WORKER])
def test_nobody_loads_opentelemetry_who_does_not_trace(code):
    assert loaded(code).isdisjoint(TRACING_LIBRARIES)


@pytest.mark.parametrize(("code", "name"), [(WORKER, "sklearn"), (CREATE_APP, "flask")])
def test_what_is_loaded_is_seen(code, name):
    assert name in loaded(code)
