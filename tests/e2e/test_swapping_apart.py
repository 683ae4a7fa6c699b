"""Swaps under predictions where machines differ, and where Redis forgets everything."""

import io
import os
import shutil

import joblib
import pytest

from app.models.desired import read
from tests.bad_versions import Blocked
from tests.e2e.swapping import STRENGTHS, Stack, Trickle, follows, new_text
from tests.models import activate, build_model
from tests.waiting import eventually

HEALS_WITHIN_S = 10.0


@pytest.fixture
def apart(tmp_path):
    """The second worker has a disk of its own, where tiny-v2 is damaged."""
    here, there = tmp_path / "here", tmp_path / "there"
    for ref in ("tiny-v1", "tiny-v2"):
        build_model(here, *ref.split("-"), strength=STRENGTHS[ref])
    activate(here, tiny="v1")
    shutil.copytree(here, there)
    (there / "tiny/v2/model.skops").write_bytes(b"damaged")
    stack = Stack(here, held=["tiny-v1"])
    stack.workers[1].env["MLSERVE_MODELS_DIR"] = str(there)
    for process in (*stack.workers, *stack.apis):
        process.env["MLSERVE_LIMITS__ALLOW_PICKLE"] = "true"
        process.env["MLSERVE_MODELS__LOAD_TIMEOUT_S"] = "1.0"
    with stack:
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
    for root in (tmp_path / "here", tmp_path / "there"):
        build_model(root, "tiny", "v5", files={"m.joblib": content.getvalue()}, format="joblib")

    try:
        with Trickle(apart) as trickle:
            status, problem = apart.ask("POST", "/models/tiny/swap", {"version": "v5"})
    finally:
        for _ in apart.workers:
            os.close(os.open(pipe, os.O_RDWR))

    trickle.check()
    assert (status, problem["code"]) == (424, "swap_failed")
    assert "not loaded within models.load_timeout_s = 1" in str(problem["errors"])
    assert {one.version for one in trickle.seen} == {"tiny-v1"}


def test_emptied_redis_heals_from_the_disk_copy_under_predictions(stack):
    stack.ask("POST", "/models/tiny/swap", {"version": "v2"})
    follows(stack, "tiny-v2")
    eventually(lambda: (stack.models_dir / "desired.json").read_text().count('"tiny": "v2"'))

    with Trickle(stack) as trickle, stack.redis.client() as client:
        client.flushall()
        eventually(lambda: (known := read(client)) and known.active == {"tiny": "v2"}, 10)
        for api in (0, 1):
            eventually(lambda api=api: _predicted(stack, api) == "tiny-v2", HEALS_WITHIN_S)

    # Until the first heartbeat an API process may say that no worker is there; nothing else.
    assert {one.code for one in trickle.seen} <= {"", "no_worker"}
    assert {one.version for one in trickle.seen if one.status == 200} == {"tiny-v2"}


def _predicted(stack, api):
    return stack.ask("POST", "/predict", {"text": new_text()}, api)[1].get("model_version")
