"""Texts that are held: which go first, and for how long others may pass them."""

import math
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract import EXPIRED, ChunkResult
from app.inference.drain import Line
from app.inference.held import MAX_COST_RATIO, SHORT_S
from app.inference.lanes import LEAD_S, Flight, Lane
from app.inference.slots import Ask, Slot
from app.inference.window import MAX_CHUNK_S
from tests.unit.app.inference.coalescing import ROUTE, answer

UNIT_S = 0.001
COST = st.sampled_from([1.0, 8.0, 64.0, 256.0])


def slot(name, held_at=0.0, cost=1.0):
    return Slot(Ask(name.encode(), name, None, 0, 1e12, "r", cost), held_at)


def lane(*slots, unit_s=UNIT_S, workers=1):
    made = Lane()
    made.workers = workers
    made.size.landed(1.0, unit_s)
    for held in slots:
        made.hold(held)
    return made


def names(slots):
    return [held.asks[0].text for held in slots]


def take(held, max_texts, pressed=()):
    return held.take(max_texts, lambda slot: slot.asks[0].text in pressed)


def flight(held, cost, moment):
    """A chunk that departs."""
    return Flight(ROUTE, [], moment, 1e12, False, held.departed(cost, moment), cost)


def result(*outcomes, inference_s=0.0):
    return ChunkResult(
        ref=ROUTE.ref,
        labels=[],
        outcomes=list(outcomes),
        preprocess_s=0.0,
        inference_s=inference_s,
    )


def drained(held, max_texts=128):
    chunks = []
    while held:
        chunks.append(take(held, max_texts))
    return chunks


@given(st.lists(COST, min_size=1, max_size=60), st.integers(1, 20), st.integers(0, 8))
def test_every_text_is_taken_once_whatever_it_costs(costs, max_texts, workers):
    texts = (slot(str(n), n * 0.01, cost) for n, cost in enumerate(costs))
    held = lane(*texts, workers=workers)

    chunks = drained(held, max_texts)

    assert sorted(names(chain.from_iterable(chunks)), key=int) == [
        str(n) for n in range(len(costs))
    ]
    assert all(1 <= len(chunk) <= max_texts for chunk in chunks)
    assert len(held) == 0


@given(st.integers(1, 300), st.integers(1, 20))
def test_texts_of_one_cost_leave_in_the_order_in_which_they_came(count, max_texts):
    held = lane(*(slot(str(n), n * 0.01) for n in range(count)))

    assert names(chain.from_iterable(drained(held, max_texts))) == [str(n) for n in range(count)]


def test_chunk_is_filled_by_what_texts_cost():
    held = lane(*(slot(f"long{n}", 0.0, 80.0) for n in range(2)), slot("more", 0.0, 80.0))
    held.workers = 2

    chunk = take(held, 128)

    assert sum(text.cost for text in chunk) * UNIT_S <= MAX_CHUNK_S
    assert len(chunk) == 1


def test_text_that_is_dearer_than_a_whole_chunk_leaves_alone():
    held = lane(slot("huge", 0.0, 1000.0), slot("small", 5.0, 2.0), workers=8)

    assert [names(chunk) for chunk in drained(held)] == [["small"], ["huge"]]


@given(st.lists(COST, min_size=1, max_size=60), st.integers(1, 4))
def test_no_text_is_in_a_chunk_with_one_that_takes_much_longer(costs, workers):
    held = lane(*(slot(str(n), n * 0.01, cost) for n, cost in enumerate(costs)), workers=workers)

    for chunk in drained(held):
        first, parts = chunk[0].cost, [text.cost for text in chunk]
        assert max(parts) * UNIT_S <= SHORT_S or all(
            max(part, first) <= MAX_COST_RATIO * min(part, first) for part in parts
        )


def test_cheapest_texts_pass_and_then_it_is_the_turn_of_the_oldest():
    held = lane(*(slot(f"long{n}", n, 80.0) for n in range(2)))
    for number, cost in enumerate([20.0, 2.0, 3.0, 24.0]):
        held.hold(slot(f"short{number}", 10.0 + number, cost))

    assert [names(take(held, 2)) for _ in range(4)] == [
        ["short1", "short0"],
        ["long0"],
        ["short2", "short3"],
        ["long1"],
    ]


@given(st.integers(1, 50))
def test_long_text_is_not_kept_waiting_by_short_ones_that_go_on_coming(shorts):
    held = lane(slot("long", 0.0, 80.0))
    for number in range(shorts):
        held.hold(slot(f"short{number}", 1.0, 2.0))

    assert "long" in names(take(held, 8)) + names(take(held, 8))


def test_texts_that_take_little_time_leave_in_the_order_in_which_they_came():
    held = lane(*(slot(str(n), n, cost) for n, cost in enumerate([25.0, 1.0, 9.0, 2.0])))

    assert names(take(held, 3)) == ["0", "1", "2"]


def test_text_that_is_held_again_is_the_oldest():
    held = lane(slot("b", 2.0))
    held.hold_again(slot("a", 1.0))

    assert held.oldest_at == 1.0
    assert names(take(held, 1)) == ["a"]


def test_costs_are_forgotten_with_their_texts():
    held = lane(slot("long", 0.0, 0.3), slot("other", 0.0, 0.1))
    drained(held)
    held.hold(slot("even", 3.0))
    held.hold(slot("again", 4.0))

    assert names(take(held, 128)) == ["even", "again"]


def test_texts_of_uneven_cost_stay_until_a_worker_should_be_done():
    held = lane(slot("long", 5.0, 40.0), workers=2)
    first = flight(held, 100.0, 10.0)
    assert held.leaves_at(0.010) == -math.inf

    second = flight(held, 200.0, 10.0)
    assert held.leaves_at(0.010) == first.lands_at - LEAD_S == 10.1 - LEAD_S

    spare = flight(held, 50.0, 10.09)
    assert held.leaves_at(0.010) == math.inf
    assert spare.lands_at == pytest.approx(first.lands_at + 50 * UNIT_S)

    held.landed(first)
    assert held.leaves_at(0.010) == min(second.lands_at, spare.lands_at) - LEAD_S


@pytest.mark.parametrize(
    ("workers", "texts", "leaves_at"), [(2, 9, 5.010), (2, 10, -math.inf), (3, 1, -math.inf)]
)
def test_spare_chunk_leaves_once_it_is_worth_the_work(workers, texts, leaves_at):
    held = lane(*(slot(str(n), 5.0) for n in range(texts)), workers=workers)
    held.window.size = 4.0
    for _ in range(2):
        flight(held, 1.0, 1.0)

    assert held.leaves_at(0.010) == leaves_at


def test_text_is_held_while_the_window_is_closed_though_a_worker_is_free():
    held = lane(slot("a", 5.0), workers=4)
    held.window.size = 1.0
    flight(held, 1.0, 1.0)

    assert held.leaves_at(0.010) == 5.010


@given(st.lists(st.tuples(COST, st.booleans()), max_size=40), st.integers(0, 4))
def test_every_chunk_that_departed_may_land_in_any_order(chunks, workers):
    held, away = lane(workers=workers), []
    for number, (cost, is_oldest) in enumerate(chunks):
        away.append(flight(held, cost, float(number)))
        if len(away) > 3:
            held.landed(away.pop(0 if is_oldest else -1))
        assert held.in_flight == len(away)


def test_text_leaves_at_once_while_the_window_is_open():
    held = lane(slot("long", 5.0, 40.0), workers=0)

    assert held.leaves_at(0.010) == -math.inf
    assert lane().leaves_at(0.010) == math.inf


def test_nobody_passes_a_text_that_is_pressed_for_time():
    held = lane(*(slot(f"long{n}", n, 80.0) for n in range(2)))
    for number in range(4):
        held.hold(slot(f"short{number}", 10.0 + number, 2.0))

    pressed = {"long0", "long1"}

    assert [names(take(held, 128, pressed)) for _ in range(3)] == [
        ["long0"],
        ["long1"],
        ["short0", "short1", "short2", "short3"],
    ]


def test_line_is_of_all_that_is_not_answered():
    held = lane(*(slot(str(n), 5.0, 2.0) for n in range(10)))
    for moment in (9.0, 10.0):
        held.drain.landed(4.0, 0.1, moment, is_busy=True)
    take(held, 5)
    away = flight(held, 10.0, 10.0)

    assert held.line(4.0, 10.0) == Line(20 / 4.0, 1.0)
    held.landed(away)
    assert held.line(4.0, 10.0) == Line(10 / 4.0, 1.0)


def test_texts_that_came_too_late_to_be_computed_say_nothing_of_the_workers():
    held = lane(*(slot(str(n)) for n in range(3)), unit_s=0.010)
    away = flight(held, 2.0, 10.0)._replace(slots=[slot("late"), slot("late too")])

    held.answered(away, result(EXPIRED, EXPIRED), 10.0)
    assert held.size.unit_s == 0.010
    away = flight(held, 2.0, 10.0)._replace(slots=[slot("late"), slot("computed")])
    held.answered(away, result(EXPIRED, answer("a"), inference_s=0.010), 10.0)

    assert held.size.unit_s == pytest.approx(0.010)


def behind(held, moment, computed_s=0.1):
    """Its workers leave texts waiting."""
    held.drain.landed(1.0, computed_s, moment, is_busy=True)
    return held


def test_chunk_is_late_at_once_only_where_others_wait_for_workers_that_are_behind():
    held = lane(slot("a"), unit_s=0.010)
    assert held.soonest_s(100.0, 10.0) == 0.0

    behind(held, 10.0)
    assert held.soonest_s(100.0, 10.0) == pytest.approx(1.0)
    assert held.soonest_s(100.0, 13.0) == 0.0

    take(held, 1)
    assert held.soonest_s(100.0, 10.0) == 0.0


def test_one_slow_chunk_does_not_make_all_others_late():
    held = behind(lane(slot("a"), unit_s=2.0), 10.0)
    held.size.landed(1.0, 0.005)

    assert held.soonest_s(100.0, 10.0) == pytest.approx(0.5)


def test_time_in_which_nothing_was_asked_is_not_taken_for_work():
    """A chunk that was known elsewhere, or lost, leaves nothing behind."""
    held = behind(lane(), 10.0)
    held.landed(flight(held, 1.0, 10.0))

    held.answered(flight(held, 1.0, 11.8)._replace(slots=[slot("b")]), result(answer("b")), 11.8)
    behind(held, 11.9)
    behind(held, 12.0)

    assert held.drain.line(1.0, 0.0, 12.0).waits_s == pytest.approx(0.1)
