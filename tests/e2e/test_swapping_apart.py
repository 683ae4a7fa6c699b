"""Swaps under predictions where machines differ, and where loads hang."""

import io
import os
import shutil
from pathlib import Path

import joblib
import pytest

from tests.bad_versions import Blocked
from tests.e2e.swapping import STRENGTHS, Stack, Trickle
from tests.models import activate, build_model

# The first load of a process imports scikit-learn, on a machine that does other work.
LOAD_TIMEOUT_S = 10


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """The second worker has a disk of its own, where tiny-v2 is damaged."""
    root = tmp_path_factory.mktemp("apart")
    here, there = root / "here", root / "there"
    for ref in ("tiny-v1", "tiny-v2"):
        build_model(here, *ref.split("-"), strength=STRENGTHS[ref])
    activate(here, tiny="v1")
    shutil.copytree(here, there)
    (there / "tiny/v2/model.skops").write_bytes(b"damaged")
    stack = Stack(here, held=["tiny-v1"])
    stack.workers[1].env["MLSERVE_MODELS_DIR"] = str(there)
    for process in (*stack.workers, *stack.apis):
        process.env["MLSERVE_LIMITS__ALLOW_PICKLE"] = "true"
        process.env["MLSERVE_MODELS__LOAD_TIMEOUT_S"] = str(LOAD_TIMEOUT_S)
    with stack.running():
        yield stack


def test_one_worker_that_cannot_load_it_keeps_the_name_where_it_is(apart):
    with Trickle(apart) as trickle:
        status, problem = apart.ask("POST", "/models/tiny/swap", {"version": "v2"})

    trickle.check()
    assert (status, problem["code"]) == (424, "swap_failed")
    assert set(problem["errors"]) == {"w2@test"}
    assert "7 bytes" in str(problem["errors"])
    assert {apart.active(api) for api in (0, 1)} == {"tiny-v1"}
    assert {one.version for one in trickle.seen} == {"tiny-v1"}


def test_load_that_hangs_is_given_up_and_costs_no_request(apart, tmp_path):
    pipe, content = str(tmp_path / "pipe"), io.BytesIO()
    os.mkfifo(pipe)
    joblib.dump(Blocked(pipe), content)
    for worker in apart.workers:
        root = Path(worker.env["MLSERVE_MODELS_DIR"])
        build_model(root, "tiny", "v5", files={"m.joblib": content.getvalue()}, format="joblib")

    try:
        with Trickle(apart) as trickle:
            status, problem = apart.ask("POST", "/models/tiny/swap", {"version": "v5"})
    finally:
        for _ in apart.workers:
            os.close(os.open(pipe, os.O_RDWR))

    trickle.check()
    assert (status, problem["code"]) == (424, "swap_failed")
    assert f"not loaded within models.load_timeout_s = {LOAD_TIMEOUT_S}" in str(problem["errors"])
    assert {one.version for one in trickle.seen} == {"tiny-v1"}
