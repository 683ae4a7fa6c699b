"""Where the time of a prediction went."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract import ChunkResult, Outcome
from app.inference.timing import REMEMBERED, Timing, Trip
from tests.models import LABELS
from tests.unit.app.inference.callers import Hand, ask
from tests.waiting import eventually

SECONDS = st.floats(0, 1000)


class Timed(Hand):
    """A hand gateway that says how long its worker computed; its clock is `ahead_s` ahead."""

    ahead_s = 0.0

    def now(self):
        return super().now() + self.ahead_s

    def land_one(self, preprocess_s, inference_s):
        """Answer the oldest chunk that is not answered."""
        chunk, future = next(one for one in self.sent if not one[1].done())
        outcomes = [Outcome([0.2, 0.3, 0.5])] * len(chunk.texts)
        future.set_result(
            ChunkResult(ref=chunk.ref, labels=list(LABELS), outcomes=outcomes,
                        preprocess_s=preprocess_s, inference_s=inference_s)
        )  # fmt: skip


def milliseconds(header):
    return {name: float(ms) for name, ms in re.findall(r"(\w+);dur=([0-9.]+)", header)}


@given(asked=SECONDS, held=SECONDS, away=SECONDS, shares=st.tuples(SECONDS, SECONDS))
def test_parts_are_all_there_is_between_asking_and_landing(asked, held, away, shares):
    total = sum(shares) or 1.0
    preprocess_s, inference_s = (away * share / total / 1.01 for share in shares)
    trip = Trip(asked + held, asked + held + away, preprocess_s, inference_s)

    timing = Timing.of(asked, trip)

    assert min(timing) >= 0
    assert sum(timing[1:]) == pytest.approx(trip.landed_at - asked, abs=1e-6)


@given(asked=SECONDS, landed=SECONDS, compute=SECONDS)
def test_no_part_is_negative_whenever_a_request_joined(asked, landed, compute):
    trip = Trip(0.0, asked + landed, compute, compute)

    timing = Timing.of(asked, trip)

    assert min(timing) >= 0
    assert timing.queue_s <= landed + 1e-6


def test_header_has_milliseconds():
    assert Timing(7.0, 0.00006, 1.25, 0.0001, 0.0004).header() == (
        "batch;dur=0.060, queue;dur=1250.000, preprocess;dur=0.100, inference;dur=0.400"
    )


def test_request_of_several_chunks_has_the_timing_of_the_last_one(make_predictions, call):
    hand = Timed()
    predictions = make_predictions(hand, max_batch_size=1)
    asked = call(predictions, "a", "b")
    eventually(lambda: len(hand.texts()) == 2)

    hand.land_one(0.0, 7.0)
    hand.land_one(0.25, 0.5)

    timing = asked.result().timing
    assert (timing.preprocess_s, timing.inference_s) == (0.25, 0.5)


def test_texts_that_were_remembered_leave_the_timing_to_the_others(make_predictions, call):
    hand = Timed()
    predictions = make_predictions(hand)
    first = call(predictions, "a")
    eventually(hand.texts)
    hand.land_one(0.1, 0.2)
    first.result()

    second = call(predictions, "a", "b")
    eventually(lambda: len(hand.texts()) == 2)
    hand.land_one(0.3, 0.4)

    assert second.result().timing.inference_s == 0.4
    assert milliseconds(second.result().server_timing)["inference"] == 400


def test_request_that_was_remembered_whole_says_so(make_predictions, local):
    predictions = make_predictions(local)

    first, second = (ask(predictions, "good day") for _ in range(2))

    assert set(milliseconds(first.server_timing)) == {"batch", "queue", "preprocess", "inference"}
    assert second.server_timing == REMEMBERED == "cache;desc=hit"


def test_text_whose_time_ran_out_before_it_was_sent_is_not_called_remembered(
    make_predictions, call
):
    hand = Timed()
    predictions = make_predictions(hand, batch_timeout_ms=4000, max_batch_size=1)
    for text in ("a", "b"):
        call(predictions, text)
    eventually(lambda: len(hand.sent) == 2)
    late = call(predictions, "late")
    eventually(lambda: predictions.admission.waiting == 3)

    hand.ahead_s = 3600.0
    hand.land()

    assert late.result().outcomes[0].is_expired
    assert late.result().server_timing is None
