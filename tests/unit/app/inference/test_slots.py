"""A request that waits for its texts, and the slots in which they travel."""

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract import EXPIRED, Outcome
from app.errors import ModelUnavailable, ServingError, ShuttingDown
from app.inference.alarm import Alarm
from app.inference.slots import Ask, Slot, Waiting
from tests.unit.app.inference.coalescing import Asked


class Bell:
    """Counts how often it is rung."""

    rung = 0

    def set(self):
        self.rung += 1


def outcome(number):
    return Outcome([number / 100, 1 - number / 100])


def ask(waiting, place=0, deadline=10.0):
    return Ask(b"key", "a text", waiting, place, deadline, "r1")


def fill(waiting, place, given):
    if waiting.fill(place, given):
        waiting.wake()


@given(st.permutations(range(8)))
def test_outcomes_come_in_the_order_of_the_texts_whatever_the_order_they_arrive_in(order):
    waiting = Asked(8)
    for place in order:
        fill(waiting, place, outcome(place))

    assert waiting.wait(0) == [outcome(place) for place in range(8)]


@given(st.lists(st.integers(0, 3)))
def test_request_is_done_exactly_when_every_text_has_an_outcome(places):
    waiting = Asked(4)
    for place in places:
        fill(waiting, place, outcome(place))

    assert waiting.done.is_set() == (set(places) == set(range(4)))


def test_first_outcome_of_a_text_counts():
    waiting = Asked(1)

    fill(waiting, 0, outcome(1))
    fill(waiting, 0, outcome(2))

    assert waiting.wait(0) == [outcome(1)]


async def result_of(waiting, alarm, timeout_s):
    await alarm.wait(timeout_s)
    return waiting.result()


def test_outcome_wakes_the_waiting_coroutine():
    async def wait():
        alarm = Alarm()
        waiting = Waiting(1, alarm)
        threading.Thread(target=fill, args=(waiting, 0, outcome(1))).start()
        return await result_of(waiting, alarm, 10)

    assert asyncio.run(wait()) == [outcome(1)]


@pytest.mark.parametrize("timeout_s", [0.01, 0.0, -1.0])
def test_wait_ends_when_the_time_is_up(timeout_s):
    async def wait():
        alarm = Alarm()
        waiting = Waiting(2, alarm)
        fill(waiting, 0, outcome(0))
        return await result_of(waiting, alarm, timeout_s)

    with pytest.raises(TimeoutError):
        asyncio.run(wait())


def test_error_arrives_as_a_copy_with_its_arguments():
    error = ModelUnavailable("tiny-v1", "broken")
    waiting = Asked(2)
    waiting.fail(error)

    with pytest.raises(ModelUnavailable, match="tiny-v1 cannot be served: broken") as caught:
        waiting.wait(0)

    assert caught.value is not error
    assert error.__traceback__ is None


@given(st.lists(st.sampled_from(["fail", "fail again", 0, 1]), max_size=8))
def test_whatever_comes_first_a_full_answer_or_an_error_is_what_the_caller_gets(events):
    """An error after the last outcome is ignored, and so are outcomes after an error."""
    bell, seen, expected = Bell(), set(), None
    waiting = Waiting(2, bell)
    for event in events:
        if isinstance(event, int):
            fill(waiting, event, outcome(event))
            seen.add(event)
        else:
            waiting.fail(ServingError() if event == "fail" else ShuttingDown())
        if expected is None:
            expected = "answer" if seen == {0, 1} else event if isinstance(event, str) else None
    kinds = {"fail": ServingError, "fail again": ShuttingDown, None: TimeoutError}

    assert bell.rung == (expected is not None)
    if expected == "answer":
        assert waiting.result() == [outcome(0), outcome(1)]
    else:
        with pytest.raises((ServingError, TimeoutError)) as caught:
            waiting.result()
        assert type(caught.value) is kinds[expected]


def test_slot_answers_all_who_ask():
    callers = [Asked(1) for _ in range(3)]
    slot = Slot(ask(callers[0]), held_at=0.0)
    slot.asks += [ask(waiting) for waiting in callers[1:]]

    for waiting in slot.fill(outcome(7)):
        waiting.wake()

    assert [waiting.wait(0) for waiting in callers] == [[outcome(7)]] * 3


def test_slot_fails_all_who_ask():
    callers = [Asked(1) for _ in range(3)]
    slot = Slot(ask(callers[0]), held_at=0.0)
    slot.asks += [ask(waiting) for waiting in callers[1:]]

    slot.fail(ShuttingDown())

    for waiting in callers:
        with pytest.raises(ShuttingDown):
            waiting.wait(0)


@given(st.lists(st.integers(0, 10), min_size=1, max_size=6), st.integers(0, 10))
def test_dismissing_answers_the_late_and_keeps_the_others(deadlines, now):
    callers = [Asked(1) for _ in deadlines]
    slot = Slot(ask(callers[0], deadline=deadlines[0]), held_at=0.0)
    for waiting, deadline in zip(callers[1:], deadlines[1:], strict=True):
        slot.asks.append(ask(waiting, deadline=deadline))
    assert slot.deadline == max(deadlines)

    is_wanted = slot.dismiss_late(now, now)

    assert [waiting.done.is_set() for waiting in callers] == [at <= now for at in deadlines]
    assert is_wanted == (max(deadlines) > now)
    for waiting in slot.fill(outcome(1)):
        waiting.wake()
    for waiting, deadline in zip(callers, deadlines, strict=True):
        assert waiting.wait(0) == [outcome(1) if deadline > now else EXPIRED]


@pytest.mark.parametrize(("moment", "is_half_over"), [(107.4, False), (107.5, True)])
def test_slot_knows_when_half_of_its_time_is_over(moment, is_half_over):
    slot = Slot(ask(Asked(1), deadline=20.0), held_at=105.0)

    assert slot.is_half_over(moment - 90.0, moment) == is_half_over


def test_last_of_those_who_share_a_slot_says_how_much_time_it_has():
    slot = Slot(ask(Asked(1), deadline=20.0), held_at=105.0)
    slot.asks.append(ask(Asked(1), deadline=30.0))

    assert not slot.is_half_over(17.5, 107.5)


@pytest.mark.parametrize(("soonest", "is_wanted"), [(29.9, True), (30.0, False)])
def test_slot_is_sent_for_all_of_its_callers_or_for_none(soonest, is_wanted):
    """The one who could not be answered in time may be, if it is sent for another anyway."""
    callers = [Asked(1), Asked(1)]
    slot = Slot(ask(callers[0], deadline=20.0), held_at=0.0)
    slot.asks.append(ask(callers[1], deadline=30.0))

    assert slot.dismiss_late(10.0, soonest) == is_wanted
    assert [caller.done.is_set() for caller in callers] == [not is_wanted] * 2
