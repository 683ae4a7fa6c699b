"""Importing the worker's Celery app is cheap, and needs no model library."""

import json
import subprocess
import sys

from app.contract import PREDICT_CHUNK, RUN_JOB_CHUNK

PROGRAM = """
import json, os, sys
import tasks
tasks.app.loader.import_default_modules()
from celery.worker.control import Panel
print(json.dumps({
    "modules": sorted(sys.modules),
    "tasks": sorted(name for name in tasks.app.tasks if not name.startswith("celery.")),
    "commands": sorted({"models", "reconcile"} & set(Panel.meta)),
    "threads": os.environ["OMP_NUM_THREADS"],
}))
"""


def test_import_is_cheap_and_registers_what_is_ours(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM], capture_output=True, text=True, check=True
    )

    told = json.loads(ended.stdout)
    heavy = {"numpy", "scipy", "sklearn", "skops", "torch", "flask", "marshmallow"}
    assert heavy & set(told["modules"]) == set()
    assert told["tasks"] == [PREDICT_CHUNK, RUN_JOB_CHUNK]
    assert told["commands"] == ["models", "reconcile"]
    assert told["threads"] == "1"
