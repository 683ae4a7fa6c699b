"""The coalescer: which texts travel together, when they leave, and what is known already."""

import contextlib
import threading
import time

import pytest

from app.contract import EXPIRED
from app.inference.drain import NO_LINE
from app.inference.lanes import Route
from tests.unit.app.inference.coalescing import ROUTE, answer, ask
from tests.waiting import eventually


def test_lone_text_leaves_at_once(make_coalescer, workers):
    started = time.monotonic()
    waiting = ask(make_coalescer(max_hold_s=60.0), "a")

    workers.next()
    workers.land(0)

    assert waiting.wait(1) == [answer("a")]
    assert time.monotonic() - started < 5


def test_texts_that_arrive_while_the_window_is_full_travel_together(make_coalescer, workers):
    coalescer = make_coalescer()
    for text in ("a", "b"):
        ask(coalescer, text)
        workers.next()
    held = [ask(coalescer, text) for text in ("c", "d", "e")]

    workers.land(0)
    workers.next()

    assert workers.texts()[2] == ["c", "d", "e"]
    workers.land(2)
    assert [w.wait(1) for w in held] == [[answer(t)] for t in ("c", "d", "e")]


def test_chunk_holds_at_most_max_batch_size_texts(make_coalescer, workers):
    waiting = ask(make_coalescer(max_batch_size=4), *"abcdefghij")

    for number in range(3):
        eventually(lambda number=number: len(workers.chunks) > number)
        workers.land(number)

    assert workers.texts() == [list("abcd"), list("efgh"), list("ij")]
    assert waiting.wait(1) == [answer(t) for t in "abcdefghij"]


def test_chunk_that_leaves_texts_behind_for_their_cost_is_told_from_a_full_one(
    make_coalescer, workers
):
    flights = []
    coalescer = make_coalescer(max_batch_size=2, observe=lambda flight, *_: flights.append(flight))
    ask(coalescer, *"abcd")
    for number in range(2):
        eventually(lambda number=number: len(workers.chunks) > number)
        workers.land(number, inference_s=0.16)
    ask(coalescer, *"efg")

    for number in range(2, 5):
        eventually(lambda number=number: len(workers.chunks) > number)
        workers.land(number, inference_s=0.08)

    assert workers.texts() == [["a", "b"], ["c", "d"], ["e"], ["f"], ["g"]]
    assert [flight.is_cut for flight in flights] == [False, False, True, True, False]


def test_text_is_held_no_longer_than_max_hold(make_coalescer, workers):
    coalescer = make_coalescer(max_hold_s=0.05)
    for text in ("a", "b"):
        ask(coalescer, text)
        workers.next()

    ask(coalescer, "held")

    workers.next()
    assert workers.texts()[2] == ["held"]


def test_several_texts_at_once_are_held_no_longer_than_max_hold_either(make_coalescer, workers):
    coalescer = make_coalescer(max_hold_s=0.05)
    for text in ("a", "b"):
        ask(coalescer, text)
        workers.next()

    ask(coalescer, "held", "held too")

    workers.next()
    assert workers.texts()[2] == ["held", "held too"]


def test_text_is_held_no_longer_though_the_sender_looks_at_another_version_later(
    make_coalescer, workers
):
    coalescer = make_coalescer(max_hold_s=0.05)
    dear = ROUTE._replace(ref="dear-v1")
    for _ in range(2):
        ask(coalescer, "learned", route=dear, cost=10.0)
        workers.next()
        workers.land(len(workers.chunks) - 1, inference_s=600.0)
    for text in ("away", "kept until a worker should be done"):
        ask(coalescer, text, route=dear, cost=10.0)
    workers.next()
    for text in ("a", "b"):
        ask(coalescer, text)
        workers.next()

    ask(coalescer, "held")

    workers.next()
    assert workers.texts()[-1] == ["held"]


def test_versions_never_share_a_chunk(make_coalescer, workers):
    coalescer = make_coalescer()
    other = Route("tiny-v2", "cpu")
    for text in ("a", "b"):
        ask(coalescer, text)
        ask(coalescer, text, route=other)

    eventually(lambda: sum(len(chunk.texts) for chunk, _ in workers.chunks) == 4)

    assert {chunk.ref for chunk, _ in workers.chunks} == {"tiny-v1", "tiny-v2"}


def test_equal_texts_on_their_way_are_computed_once(make_coalescer, workers, results):
    coalescer = make_coalescer()
    first = ask(coalescer, "a")
    workers.next()
    others = [ask(coalescer, "a") for _ in range(99)]

    workers.land(0)

    assert [w.wait(1) for w in [first, *others]] == [[answer("a")]] * 100
    assert [w.joined for w in others] == [1] * 99
    assert workers.texts() == [["a"]]
    assert results == [(b"tiny-v1a", answer("a"))]


def test_text_that_landed_is_computed_again(make_coalescer, workers):
    coalescer = make_coalescer()
    ask(coalescer, "a")
    workers.next()
    workers.land(0)

    ask(coalescer, "a")

    workers.next()
    assert workers.texts() == [["a"], ["a"]]


def test_text_twice_in_one_request_is_answered_twice(make_coalescer, workers):
    waiting = ask(make_coalescer(), "a", "b", "a")
    workers.next()
    workers.land(0)

    assert workers.texts() == [["a", "b"]]
    assert waiting.wait(1) == [answer("a"), answer("b"), answer("a")]


def test_chunk_carries_all_request_ids_and_the_latest_deadline(make_coalescer, workers):
    coalescer = make_coalescer()
    for text in ("x", "y"):
        ask(coalescer, text)
        workers.next()
    ask(coalescer, "a", request_id="one", deadline=5.0)
    ask(coalescer, "a", request_id="two", deadline=7.0)
    workers.land(0)

    chunk, _ = workers.next()

    assert (chunk.request_ids, chunk.deadline) == (["one", "two"], 7.0)


def test_known_answer_is_given_without_a_chunk(make_coalescer, workers):
    coalescer = make_coalescer(known=lambda flight: {b"tiny-v1known": answer("known")})
    waiting = ask(coalescer, "known", "new")
    workers.next()
    workers.land(0)

    assert workers.texts() == [["new"]]
    assert waiting.wait(1) == [answer("known"), answer("new")]
    assert ask(coalescer, "known").wait(1) == [answer("known")]
    assert coalescer._lanes[ROUTE].in_flight == 0


def test_nothing_is_started_before_first_use(make_coalescer):
    before = threading.active_count()

    make_coalescer()

    assert threading.active_count() == before


def test_outcome_is_remembered_before_its_caller_is_told(make_coalescer, workers):
    """Whoever asks for the same text after an answer finds it."""
    told, requests = [], []

    def remember(rows, is_busy):
        with contextlib.suppress(TimeoutError):
            told.append(requests[0].wait(0))

    requests.append(ask(make_coalescer(landed=remember), "a"))
    workers.next()
    workers.land(0)

    assert told == []
    assert requests[0].wait(1) == [answer("a")]


def test_line_in_front_of_a_text_is_that_of_its_own_version(make_coalescer, workers):
    coalescer = make_coalescer(max_batch_size=1)
    other = Route("tiny-v2", "cpu")
    asked = [ask(coalescer, *"abcdef"), ask(coalescer, "x", route=other)]
    for number in range(3):
        eventually(lambda number=number: len(workers.chunks) > number)
    eventually(lambda: land_next(workers) and coalescer.line(ROUTE, 1.0).waits_s > 0)

    assert coalescer.line(other, 1.0) == coalescer.line(Route("new", "cpu"), 1.0) == NO_LINE
    assert coalescer.shortest_line() == NO_LINE

    eventually(lambda: land_next(workers) is None)
    assert [len(waiting.wait(5)) for waiting in asked] == [6, 1]
    assert coalescer.line(ROUTE, 1.0) == NO_LINE


def land_next(workers, inference_s=0.0):
    """Have the oldest chunk land; its texts."""
    for number, (chunk, future) in enumerate(list(workers.chunks)):
        if not future.done():
            workers.land(number, inference_s=inference_s)
            return chunk.texts
    return None


@pytest.mark.parametrize("others", [[], ["behind"]])
def test_text_that_cannot_be_answered_in_time_makes_room_for_those_behind(
    make_coalescer, workers, others
):
    coalescer = make_coalescer(max_batch_size=1)
    slow = [ask(coalescer, text) for text in ("slow", "slow too")]
    for _ in slow:
        workers.next()
    held = [ask(coalescer, "late", deadline=5.0), *(ask(coalescer, text) for text in others)]

    workers.land(0, inference_s=10.0)

    workers.next()
    assert workers.texts()[2:] == ([others] if others else [["late"]])
    if others:
        assert held[0].wait(1) == [EXPIRED]
    assert slow[0].wait(1) == [answer("slow")]


def test_batch_alone_is_sent_whole_after_a_slow_beginning(make_coalescer, workers):
    """The first chunk of a model may take many times as long as all others."""
    coalescer = make_coalescer(max_batch_size=4)
    first = ask(coalescer, "first")
    workers.next()
    workers.land(0, inference_s=2.0)
    assert first.wait(5) == [answer("first")]

    batch = ask(coalescer, *"abcdefgh", deadline=5.0)

    eventually(lambda: land_next(workers, inference_s=0.005) is None and batch.done.is_set())
    assert batch.wait(1) == [answer(text) for text in "abcdefgh"]
