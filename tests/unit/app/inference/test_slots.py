"""A request that waits for its texts, and the slots in which they travel."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract import EXPIRED, Outcome
from app.errors import ModelUnavailable, ServingError, ShuttingDown
from app.inference.slots import Ask, Slot, Waiting


def outcome(number):
    return Outcome([number / 100, 1 - number / 100])


def ask(waiting, place=0, deadline=10.0):
    return Ask(b"key", "a text", waiting, place, deadline, "r1")


def is_done(waiting):
    try:
        waiting.wait(0)
    except TimeoutError:
        return False
    return True


@given(st.permutations(range(8)))
def test_outcomes_come_in_the_order_of_the_texts_whatever_the_order_they_arrive_in(order):
    waiting = Waiting(8)
    for place in order:
        waiting.fill(place, outcome(place))

    assert waiting.wait(0) == [outcome(place) for place in range(8)]


@given(st.lists(st.integers(0, 3)))
def test_request_is_done_exactly_when_every_text_has_an_outcome(places):
    waiting = Waiting(4)
    for place in places:
        waiting.fill(place, outcome(place))

    assert is_done(waiting) == (set(places) == set(range(4)))


def test_first_outcome_of_a_text_counts():
    waiting = Waiting(1)

    waiting.fill(0, outcome(1))
    waiting.fill(0, outcome(2))

    assert waiting.wait(0) == [outcome(1)]


def test_outcome_wakes_the_waiting_thread():
    waiting, got = Waiting(1), []
    thread = threading.Thread(target=lambda: got.extend(waiting.wait(10)))
    thread.start()

    waiting.fill(0, outcome(1))
    thread.join(5)

    assert got == [outcome(1)]


@pytest.mark.parametrize("timeout_s", [0.01, 0.0, -1.0])
def test_wait_ends_when_the_time_is_up(timeout_s):
    waiting = Waiting(2)
    waiting.fill(0, outcome(0))

    with pytest.raises(TimeoutError):
        waiting.wait(timeout_s)


def test_error_arrives_as_a_copy_with_its_arguments():
    error = ModelUnavailable("tiny-v1", "broken")
    waiting = Waiting(2)
    waiting.fail(error)

    with pytest.raises(ModelUnavailable, match="tiny-v1 cannot be served: broken") as caught:
        waiting.wait(0)

    assert caught.value is not error
    assert error.__traceback__ is None


@given(st.lists(st.sampled_from(["fail", "fail again", 0, 1]), max_size=8))
def test_whatever_comes_first_a_full_answer_or_an_error_is_what_the_caller_gets(events):
    """An error after the last outcome is ignored, and so are outcomes after an error."""
    waiting, seen, expected = Waiting(2), set(), None
    for event in events:
        if isinstance(event, int):
            waiting.fill(event, outcome(event))
            seen.add(event)
        else:
            waiting.fail(ServingError() if event == "fail" else ShuttingDown())
        if expected is None:
            expected = "answer" if seen == {0, 1} else event if isinstance(event, str) else None
    kinds = {"fail": ServingError, "fail again": ShuttingDown}

    if expected is None:
        assert not is_done(waiting)
    elif expected == "answer":
        assert waiting.wait(0) == [outcome(0), outcome(1)]
    else:
        with pytest.raises(ServingError) as caught:
            waiting.wait(0)
        assert type(caught.value) is kinds[expected]


def test_slot_answers_all_who_ask():
    callers = [Waiting(1) for _ in range(3)]
    slot = Slot(ask(callers[0]), held_at=0.0)
    slot.asks += [ask(waiting) for waiting in callers[1:]]

    slot.fill(outcome(7))

    assert [waiting.wait(0) for waiting in callers] == [[outcome(7)]] * 3


def test_slot_fails_all_who_ask():
    callers = [Waiting(1) for _ in range(3)]
    slot = Slot(ask(callers[0]), held_at=0.0)
    slot.asks += [ask(waiting) for waiting in callers[1:]]

    slot.fail(ShuttingDown())

    for waiting in callers:
        with pytest.raises(ShuttingDown):
            waiting.wait(0)


@given(st.lists(st.integers(0, 10), min_size=1, max_size=6), st.integers(0, 10))
def test_dismissing_answers_the_late_and_keeps_the_others(deadlines, now):
    callers = [Waiting(1) for _ in deadlines]
    slot = Slot(ask(callers[0], deadline=deadlines[0]), held_at=0.0)
    for waiting, deadline in zip(callers[1:], deadlines[1:], strict=True):
        slot.asks.append(ask(waiting, deadline=deadline))
    assert slot.deadline == max(deadlines)

    is_wanted = slot.dismiss_late(now)

    assert is_wanted == (max(deadlines) > now)
    slot.fill(outcome(1))
    for waiting, deadline in zip(callers, deadlines, strict=True):
        assert waiting.wait(0) == [outcome(1) if deadline > now else EXPIRED]
