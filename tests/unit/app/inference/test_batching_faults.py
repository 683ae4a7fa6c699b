"""The coalescer when texts, chunks or workers fail: every caller gets exactly one outcome."""

import contextlib
import threading
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.contract import EXPIRED, Failure, Outcome
from app.errors import BrokerUnavailable, ServingError, ShuttingDown
from app.inference.batching import BatchLimits, Coalescer
from tests.unit.app.inference.coalescing import ROUTE, Workers, answer, ask
from tests.waiting import eventually


def test_late_text_is_not_sent_and_its_caller_is_told(make_coalescer, workers):
    clock, expired = [0.0], []
    coalescer = make_coalescer(now=lambda: clock[0], expired=lambda *row: expired.append(row))
    for text in ("a", "b"):
        ask(coalescer, text)
        workers.next()
    late, in_time = ask(coalescer, "late", deadline=1.0), ask(coalescer, "in time", deadline=3.0)
    clock[0] = 2.0

    workers.land(0)
    workers.next()
    workers.land(2)

    assert workers.texts()[2] == ["in time"]
    assert late.wait(1) == [EXPIRED]
    assert expired == [("held", 1)]
    assert in_time.wait(1) == [answer("in time")]


def test_caller_with_time_left_is_answered_where_the_first_one_ran_out_of_it(
    make_coalescer, workers
):
    clock = [0.0]
    coalescer = make_coalescer(now=lambda: clock[0])
    first = ask(coalescer, "a", deadline=1.0)
    workers.next()
    second = ask(coalescer, "a", deadline=5.0)
    clock[0] = 2.0

    workers.land(0, lambda text: EXPIRED)
    workers.next()
    workers.land(1)

    assert first.wait(1) == [EXPIRED]
    assert second.wait(1) == [answer("a")]


def test_caller_who_joined_one_of_several_long_texts_has_his_own_time(make_coalescer, workers):
    """The chunk may wait for a neighbour until later than the text was sent for."""
    clock = [0.0]
    coalescer = make_coalescer(now=lambda: clock[0])
    busy = ask(coalescer, "busy", cost=50.0)
    workers.next()
    first, _ = ask(coalescer, "a", deadline=1.0, cost=50.0), ask(coalescer, "b", cost=50.0)
    workers.land(0)
    sent, _ = workers.next()
    joined = ask(coalescer, "a", deadline=3.0, cost=50.0)
    clock[0] = 1.5

    workers.land(1, lambda text: EXPIRED if text == "a" else answer(text))
    workers.next()
    workers.land(2)

    assert (busy.wait(1), sent.deadlines[0]) == ([answer("busy")], 1.0)
    assert first.wait(1) == [EXPIRED]
    assert joined.wait(1) == [answer("a")]


def test_failed_text_does_not_fail_its_neighbours(make_coalescer, workers):
    bad = Outcome(error=Failure("text_failed", "bad"))
    waiting = ask(make_coalescer(), "a", "bad", "c")
    workers.next()

    workers.land(0, lambda text: bad if text == "bad" else answer(text))

    assert waiting.wait(1) == [answer("a"), bad, answer("c")]


def test_chunk_that_cannot_be_sent_fails_its_callers_and_no_others(make_coalescer, workers):
    coalescer = make_coalescer()
    workers.error = BrokerUnavailable()
    failed = ask(coalescer, "a")
    with pytest.raises(BrokerUnavailable):
        failed.wait(5)

    workers.error = None
    well = ask(coalescer, "a")
    workers.next()
    workers.land(0)

    assert well.wait(1) == [answer("a")]


def test_error_of_a_chunk_reaches_all_its_callers(make_coalescer, workers):
    coalescer = make_coalescer()
    ask(coalescer, "a")
    ask(coalescer, "b")
    eventually(lambda: sum(map(len, workers.texts())) == 2)
    callers = [ask(coalescer, "a"), ask(coalescer, "b")]
    for _, future in list(workers.chunks):
        future.set_exception(ServingError("x"))
    eventually(lambda: all(future.done() for _, future in workers.chunks))

    for caller in callers:
        with pytest.raises(ServingError):
            caller.wait(5)


def test_close_fails_whoever_still_waits(make_coalescer, workers):
    coalescer = make_coalescer()
    sent = ask(coalescer, "a")
    workers.next()

    coalescer.close()

    with pytest.raises(ShuttingDown):
        sent.wait(0)
    with pytest.raises(ShuttingDown):
        ask(coalescer, "b")


def test_sender_survives_what_nobody_expected(make_coalescer, workers):
    coalescer = make_coalescer()
    workers.error = RuntimeError("a bug")
    with pytest.raises(ServingError):
        ask(coalescer, "a").wait(5)

    workers.error = None
    well = ask(coalescer, "b")
    workers.next()
    workers.land(0)

    assert well.wait(1) == [answer("b")]


def test_memory_that_fails_keeps_no_answer_from_its_caller(make_coalescer, workers, caplog):
    def fail(rows):
        raise RuntimeError("a bug")

    waiting = ask(make_coalescer(landed=fail), "a")
    workers.next()
    workers.land(0)

    assert waiting.wait(1) == [answer("a")]
    assert "a bug" in caplog.text


def test_known_text_stays_answered_where_the_rest_of_its_chunk_cannot_be_sent(
    make_coalescer, workers
):
    """A request has one text in a chunk that fails, where it was known, and one in another."""
    coalescer = make_coalescer(
        max_batch_size=2, known=lambda flight: {b"tiny-v1known": answer("known")}
    )
    for text in ("a", "b"):
        ask(coalescer, text)
        workers.next()
    workers.error, workers.refused = BrokerUnavailable(), "refused"
    failed = ask(coalescer, "refused")
    waiting = ask(coalescer, "known", "sent")

    workers.land(0)
    workers.land(1)
    workers.next()
    workers.land(2)

    with pytest.raises(BrokerUnavailable):
        failed.wait(1)
    assert waiting.wait(1) == [answer("known"), answer("sent")]


def start_clients(coalescer, wanted, waiting):
    def client(numbers):
        for number in numbers:
            waiting[number] = ask(coalescer, *wanted[number])

    clients = [threading.Thread(target=client, args=(range(i, len(wanted), 3),)) for i in range(3)]
    for thread in clients:
        thread.start()
    return clients


requests = st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6), max_size=25)


@settings(max_examples=60, deadline=None)
@given(requests, st.integers(1, 8), st.integers())
def test_every_caller_gets_its_own_answers_under_any_interleaving(wanted, size, seed):
    """Requests come from several threads; chunks land in any order, some of them with errors."""
    workers = Workers()
    coalescer = Coalescer(BatchLimits(size, 0.001), workers.submit, lambda: 0.0)
    waiting = [None] * len(wanted)
    clients = start_clients(coalescer, wanted, waiting)
    landed, random = set(), Random(seed)

    def land_some():
        flying = [n for n in range(len(workers.chunks)) if n not in landed]
        random.shuffle(flying)
        for number in flying:
            landed.add(number)
            if random.random() < 0.2:
                workers.chunks[number][1].set_exception(BrokerUnavailable())
            else:
                workers.land(number)
        return not any(t.is_alive() for t in clients) and not coalescer._open

    eventually(land_some, every_s=0.001)
    for number, texts in enumerate(wanted):
        with contextlib.suppress(BrokerUnavailable):
            assert waiting[number].wait(1) == [answer(text) for text in texts]
    assert all(len(texts) <= size and len(set(texts)) == len(texts) for texts in workers.texts())
    coalescer.close()


def test_text_that_nobody_waits_for_any_more_is_not_computed(make_coalescer, workers):
    coalescer = make_coalescer()
    for text in ("a", "b"):
        ask(coalescer, text)
        workers.next()
    gone, stays = ask(coalescer, "gone", "shared"), ask(coalescer, "shared", "kept")

    leave(coalescer, gone, "gone", "shared")
    workers.land(0)

    workers.next()
    assert workers.texts()[2] == ["shared", "kept"]
    workers.land(2)
    assert stays.wait(1) == [answer("shared"), answer("kept")]


def test_text_on_its_way_whose_caller_left_is_answered_to_who_asks_next(make_coalescer, workers):
    coalescer = make_coalescer()
    gone = ask(coalescer, "a")
    workers.next()

    leave(coalescer, gone, "a")
    again = ask(coalescer, "a")
    workers.land(0)

    assert again.joined == 1
    assert again.wait(1) == [answer("a")]


def leave(coalescer, waiting, *texts):
    coalescer.leave(ROUTE, [ROUTE.ref.encode() + text.encode() for text in texts], waiting)
