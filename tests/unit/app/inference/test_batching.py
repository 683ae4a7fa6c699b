"""The coalescer: which texts travel together, and that every caller gets exactly its answer."""

import contextlib
import threading
import time
from concurrent.futures import Future
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.contract import EXPIRED, ChunkResult, Failure, Outcome
from app.errors import BrokerUnavailable, ServingError, ShuttingDown
from app.inference.batching import BatchLimits, Coalescer, Hooks, Route
from app.inference.slots import Ask, Waiting
from tests.waiting import eventually

ROUTE = Route("tiny-v1", "cpu")
FAR = 1e12


class Workers:
    """What the coalescer submits to: chunks pile up until the test lets them land."""

    def __init__(self):
        self.chunks = []
        self.arrived = threading.Semaphore(0)
        self.error = None

    def submit(self, chunk, device):
        if self.error is not None:
            raise self.error
        future = Future()
        self.chunks.append((chunk, future))
        self.arrived.release()
        return future

    def next(self):
        assert self.arrived.acquire(timeout=5), "no chunk was sent"
        return self.chunks[-1]

    def land(self, number, outcome_of=None):
        chunk, future = self.chunks[number]
        future.set_result(
            ChunkResult(
                ref=chunk.ref,
                labels=["no", "yes"],
                outcomes=[(outcome_of or answer)(text) for text in chunk.texts],
                preprocess_s=0.0,
                inference_s=0.0,
            )
        )

    def texts(self):
        return [chunk.texts for chunk, _ in self.chunks]


def answer(text):
    return Outcome([len(text) / 100, 1 - len(text) / 100])


class Asked(Waiting):
    """A request, which remembers how many of its texts were on their way already."""

    joined = 0


def ask(coalescer, *texts, deadline=FAR, route=ROUTE, request_id="r"):
    waiting = Asked(len(texts))
    asks = [
        Ask(route.ref.encode() + text.encode(), text, waiting, place, deadline, request_id)
        for place, text in enumerate(texts)
    ]
    waiting.joined = coalescer.put(route, asks)
    return waiting


@pytest.fixture
def workers():
    return Workers()


@pytest.fixture
def results():
    return []


@pytest.fixture
def make(workers, results):
    made = []

    def make(**changes):
        limits = BatchLimits(changes.pop("max_batch_size", 4), changes.pop("max_hold_s", 60.0))
        now = changes.pop("now", lambda: 0.0)
        hooks = Hooks(**{"landed": lambda rows, _: results.extend(rows)} | changes)
        made.append(Coalescer(limits, workers.submit, now, hooks))
        return made[-1]

    yield make
    for coalescer in made:
        coalescer.close()


def test_lone_text_leaves_at_once(make, workers):
    started = time.monotonic()
    waiting = ask(make(max_hold_s=60.0), "a")

    workers.next()
    workers.land(0)

    assert waiting.wait(1) == [answer("a")]
    assert time.monotonic() - started < 5


def test_texts_that_arrive_while_the_window_is_full_travel_together(make, workers):
    coalescer = make()
    for text in ("a", "b"):
        ask(coalescer, text)
        workers.next()
    held = [ask(coalescer, text) for text in ("c", "d", "e")]

    workers.land(0)
    workers.next()

    assert workers.texts()[2] == ["c", "d", "e"]
    workers.land(2)
    assert [w.wait(1) for w in held] == [[answer(t)] for t in ("c", "d", "e")]


def test_chunk_holds_at_most_max_batch_size_texts(make, workers):
    waiting = ask(make(max_batch_size=4), *"abcdefghij")

    for number in range(3):
        eventually(lambda number=number: len(workers.chunks) > number)
        workers.land(number)

    assert workers.texts() == [list("abcd"), list("efgh"), list("ij")]
    assert waiting.wait(1) == [answer(t) for t in "abcdefghij"]


def test_text_is_held_no_longer_than_max_hold(make, workers):
    coalescer = make(max_hold_s=0.05)
    for text in ("a", "b"):
        ask(coalescer, text)
        workers.next()

    ask(coalescer, "held")

    workers.next()
    assert workers.texts()[2] == ["held"]


def test_versions_never_share_a_chunk(make, workers):
    coalescer = make()
    other = Route("tiny-v2", "cpu")
    for text in ("a", "b"):
        ask(coalescer, text)
        ask(coalescer, text, route=other)

    eventually(lambda: sum(len(chunk.texts) for chunk, _ in workers.chunks) == 4)

    assert {chunk.ref for chunk, _ in workers.chunks} == {"tiny-v1", "tiny-v2"}


def test_equal_texts_on_their_way_are_computed_once(make, workers, results):
    coalescer = make()
    first = ask(coalescer, "a")
    workers.next()
    others = [ask(coalescer, "a") for _ in range(99)]

    workers.land(0)

    assert [w.wait(1) for w in [first, *others]] == [[answer("a")]] * 100
    assert [w.joined for w in others] == [1] * 99
    assert workers.texts() == [["a"]]
    assert results == [(b"tiny-v1a", answer("a"))]


def test_text_that_landed_is_computed_again(make, workers):
    coalescer = make()
    ask(coalescer, "a")
    workers.next()
    workers.land(0)

    ask(coalescer, "a")

    workers.next()
    assert workers.texts() == [["a"], ["a"]]


def test_text_twice_in_one_request_is_answered_twice(make, workers):
    waiting = ask(make(), "a", "b", "a")
    workers.next()
    workers.land(0)

    assert workers.texts() == [["a", "b"]]
    assert waiting.wait(1) == [answer("a"), answer("b"), answer("a")]


def test_late_text_is_not_sent_and_its_caller_is_told(make, workers):
    clock, expired = [0.0], []
    coalescer = make(now=lambda: clock[0], expired=lambda *row: expired.append(row))
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


def test_caller_with_time_left_is_answered_where_the_first_one_ran_out_of_it(make, workers):
    clock = [0.0]
    coalescer = make(now=lambda: clock[0])
    first = ask(coalescer, "a", deadline=1.0)
    workers.next()
    second = ask(coalescer, "a", deadline=5.0)
    clock[0] = 2.0

    workers.land(0, lambda text: EXPIRED)
    workers.next()
    workers.land(1)

    assert first.wait(1) == [EXPIRED]
    assert second.wait(1) == [answer("a")]


def test_failed_text_does_not_fail_its_neighbours(make, workers):
    bad = Outcome(error=Failure("text_failed", "bad"))
    waiting = ask(make(), "a", "bad", "c")
    workers.next()

    workers.land(0, lambda text: bad if text == "bad" else answer(text))

    assert waiting.wait(1) == [answer("a"), bad, answer("c")]


def test_chunk_that_cannot_be_sent_fails_its_callers_and_no_others(make, workers):
    coalescer = make()
    workers.error = BrokerUnavailable()
    failed = ask(coalescer, "a")
    with pytest.raises(BrokerUnavailable):
        failed.wait(5)

    workers.error = None
    well = ask(coalescer, "a")
    workers.next()
    workers.land(0)

    assert well.wait(1) == [answer("a")]


def test_error_of_a_chunk_reaches_all_its_callers(make, workers):
    coalescer = make()
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


def test_close_fails_whoever_still_waits(make, workers):
    coalescer = make()
    sent = ask(coalescer, "a")
    workers.next()

    coalescer.close()

    with pytest.raises(ShuttingDown):
        sent.wait(0)
    with pytest.raises(ShuttingDown):
        ask(coalescer, "b")


def test_chunk_carries_all_request_ids_and_the_latest_deadline(make, workers):
    coalescer = make()
    for text in ("x", "y"):
        ask(coalescer, text)
        workers.next()
    ask(coalescer, "a", request_id="one", deadline=5.0)
    ask(coalescer, "a", request_id="two", deadline=7.0)
    workers.land(0)

    chunk, _ = workers.next()

    assert (chunk.request_ids, chunk.deadline) == (["one", "two"], 7.0)


def test_known_answer_is_given_without_a_chunk(make, workers):
    coalescer = make(known=lambda flight: {b"tiny-v1known": answer("known")})
    waiting = ask(coalescer, "known", "new")
    workers.next()
    workers.land(0)

    assert workers.texts() == [["new"]]
    assert waiting.wait(1) == [answer("known"), answer("new")]
    assert ask(coalescer, "known").wait(1) == [answer("known")]
    assert coalescer._lanes[ROUTE].in_flight == 0


def test_sender_survives_what_nobody_expected(make, workers):
    coalescer = make()
    workers.error = RuntimeError("a bug")
    with pytest.raises(ServingError):
        ask(coalescer, "a").wait(5)

    workers.error = None
    well = ask(coalescer, "b")
    workers.next()
    workers.land(0)

    assert well.wait(1) == [answer("b")]


def test_nothing_is_started_before_first_use(make):
    before = threading.active_count()

    make()

    assert threading.active_count() == before


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
