"""Predictions that cannot be made in time, or not at all: what callers are told, and how soon."""

import time

import pytest

from app.errors import (
    ModelNotFound,
    Overloaded,
    PredictionTimeout,
    ShuttingDown,
    WorkerOutOfMemory,
)
from app.settings import Limits
from tests.unit.app.inference.callers import ANSWERS, ask
from tests.waiting import eventually


@pytest.mark.parametrize(
    ("wait_s", "timeout_ms", "expected_ms"), [(0.05, 5000, 50), (600, 50, 50), (None, 50, 50)]
)
def test_the_shorter_of_both_times_counts(make_predictions, hand, wait_s, timeout_ms, expected_ms):
    predictions = make_predictions(hand, request_timeout_ms=timeout_ms)
    started = time.monotonic()

    with pytest.raises(PredictionTimeout, match=f"within {expected_ms} ms"):
        ask(predictions, "a", wait_s=wait_s)

    assert time.monotonic() - started < 2.5
    assert predictions.admission.waiting == 0


def test_deadline_of_the_message_is_that_of_the_caller(make_predictions, hand, call):
    predictions = make_predictions(hand)
    before = hand.now()

    call(predictions, "a", wait_s=2)

    chunk, _ = eventually(lambda: hand.sent and hand.sent[0])
    assert before + 2 <= chunk.deadline <= hand.now() + 2


def test_full_house_is_refused_at_once_and_open_again_when_it_empties(make_predictions, hand, call):
    predictions = make_predictions(hand, limits=Limits(max_queued_texts=2, max_batch_texts=2))
    inside = call(predictions, "a", "b")
    eventually(lambda: len(hand.texts()) == 2)

    with pytest.raises(Overloaded):
        ask(predictions, "c")

    hand.land()
    inside.result()
    outside = call(predictions, "c")
    eventually(lambda: len(hand.texts()) == 3)
    hand.land()
    assert outside.result().source == "miss"


def test_remembered_texts_need_no_room(make_predictions, hand, call):
    predictions = make_predictions(hand, limits=Limits(max_queued_texts=1, max_batch_texts=1))
    known = call(predictions, "known")
    eventually(hand.texts)
    hand.land()
    known.result()
    call(predictions, "fills the house")
    eventually(lambda: len(hand.texts()) == 2)

    assert ask(predictions, "known").source == "hit"


def test_close_fails_whoever_still_waits(make_predictions, hand, call):
    predictions = make_predictions(hand)
    asked = call(predictions, "a")
    eventually(hand.texts)

    predictions.close()

    with pytest.raises(ShuttingDown):
        asked.result()
    assert predictions.admission.waiting == 0


def test_request_that_is_cancelled_leaves_room_and_keeps_no_answer_from_others(
    make_predictions, hand, call
):
    predictions = make_predictions(hand)
    gone, stays = call(predictions, "a", "b"), call(predictions, "a")
    eventually(lambda: predictions.admission.waiting == 3)

    gone.cancel()
    eventually(lambda: predictions.admission.waiting == 1)
    hand.land()

    assert stays.result().outcomes == [ANSWERS["tiny-v2"]]
    assert predictions.admission.waiting == 0


def test_unknown_version_costs_nothing(make_predictions, hand):
    predictions = make_predictions(hand)

    with pytest.raises(ModelNotFound):
        ask(predictions, "a", version="v9")

    assert (hand.sent, predictions.admission.waiting) == ([], 0)


def test_texts_of_a_request_that_failed_are_not_computed(make_predictions, hand, call):
    predictions = make_predictions(hand, max_batch_size=1, batch_timeout_ms=60_000)
    failed = call(predictions, *"abcdef")
    sent = eventually(lambda: len(hand.sent) > 1 and list(hand.sent))

    sent[0][1].set_exception(WorkerOutOfMemory())
    with pytest.raises(WorkerOutOfMemory):
        failed.result()
    sent[1][1].set_exception(WorkerOutOfMemory())
    other = call(predictions, "other")

    eventually(lambda: "other" in hand.texts())
    hand.land()
    assert other.result().source == "miss"
    assert len(hand.texts()) <= len("abc") + 1
