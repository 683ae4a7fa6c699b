"""How many texts of a job's chunk are computed together."""

from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.base import Batching
from app.settings import Jobs, Settings, Worker
from tasks.job_windows import FIRST_TEXTS, Windows

MAX_TEXTS = 500
SETTINGS = Settings(
    jobs=Jobs(target_chunk_seconds=0.5, max_batch_size=MAX_TEXTS),
    worker=Worker(hard_limit_s=30.0),
)
TEXTS = st.lists(st.integers(0, 2000).map("x".__mul__), min_size=1, max_size=600)


def model(cost, ref="m-v1"):
    manifest = SimpleNamespace(batching=Batching(cost=cost), pipeline=[])
    return SimpleNamespace(ref=ref, manifest=manifest)


EVEN, PADDED = model("texts"), model("padded_tokens")


def test_version_that_nobody_knows_begins_with_few():
    assert Windows(SETTINGS).fitting(EVEN, ["x"] * 400) == FIRST_TEXTS


def test_what_one_version_takes_says_nothing_of_another():
    windows = Windows(SETTINGS)
    windows.took(EVEN, ["x"], 1.0)

    assert windows.fitting(model("texts", "other-v1"), ["x"] * 400) == FIRST_TEXTS


def test_texts_of_one_cost_come_together_for_a_part_of_the_time_of_a_chunk():
    windows = Windows(SETTINGS)
    windows.took(EVEN, ["x"] * 100, 0.1)

    assert windows.fitting(EVEN, ["x"] * 400) == 125


def test_texts_that_cost_by_length_come_together_as_long_as_a_chunk_may_take():
    windows = Windows(SETTINGS)
    windows.took(PADDED, ["x" * 392] * 10, 1.0)  # 1 ms for a token

    assert windows.max_s == 4.0
    assert windows.fitting(PADDED, ["x" * 392] * 400) == 40
    assert windows.fitting(PADDED, ["x" * 3992] * 400) == 4


@given(TEXTS, TEXTS, st.floats(1e-6, 100), st.sampled_from([EVEN, PADDED]))
def test_there_is_always_one_and_never_more_than_there_are_or_may_be(before, texts, took, kind):
    windows = Windows(SETTINGS)
    windows.took(kind, before, took)

    assert 1 <= windows.fitting(kind, texts) <= min(len(texts), MAX_TEXTS)


@pytest.mark.parametrize(("target_s", "limit_s", "max_s"), [(0.5, 8, 2.0), (4, 10, 4), (1, 60, 8)])
def test_chunks_of_few_texts_stay_far_from_the_limit(target_s, limit_s, max_s):
    jobs = msgspec.structs.replace(SETTINGS.jobs, target_chunk_seconds=target_s)

    assert Windows(Settings(jobs=jobs, worker=Worker(hard_limit_s=limit_s))).max_s == max_s
