"""Which unanswered chunks are lost, by clocks of the test's own."""

import gc
import weakref

from hypothesis import given
from hypothesis import strategies as st

from app.contract import ChunkResult
from app.errors import BrokerUnavailable
from app.inference.pending import MIN_OVERTAKEN_S, OVERTAKEN_ROUND_TRIPS, Pending, expired
from tests.unit.app.inference.sending import Clock, chunk


def test_answer_is_taken_once(pending, send):
    sent = send()

    assert pending.answered(sent.task_id) is sent
    assert pending.answered(sent.task_id) is None
    assert len(pending) == 0


def test_answered_chunk_is_freed_without_the_garbage_collector(pending, send):
    gc.disable()
    try:
        sent = send()
        future = weakref.ref(sent.future)
        pending.answered(sent.task_id).resolve(expired(sent.chunk))
        del sent

        assert future() is None
    finally:
        gc.enable()


def test_answer_to_nobody_is_none(pending):
    assert pending.answered("a task of a process that is gone") is None


def test_overtaken_chunk_is_lost_once(pending, send, clock):
    first = send()
    clock.forward(0.01)
    later = send()
    clock.forward(0.01)
    pending.answered(later.task_id)

    assert pending.lost() == []
    clock.forward(MIN_OVERTAKEN_S)
    assert pending.lost() == [first]
    clock.forward(1.0)
    assert pending.lost() == []
    assert pending.answered(first.task_id) is first


def test_overtaken_chunk_has_several_round_trips_of_time(pending, send, clock):
    """A second slot or another worker may well be slower than the one that overtook."""
    for _ in range(60):
        done = send()
        clock.forward(1.0)
        pending.answered(done.task_id)
    slow = send(60.0)
    clock.forward(0.01)
    quick = send()
    clock.forward(1.0)
    pending.answered(quick.task_id)

    clock.forward(OVERTAKEN_ROUND_TRIPS - 1.1)
    assert pending.lost() == []
    clock.forward(0.2)
    assert pending.lost() == [slow]


def test_chunk_is_not_overtaken_on_another_queue(pending, send, clock):
    send(queue="predict.gpu")
    clock.forward(0.01)
    pending.answered(send(queue="predict.cpu").task_id)

    clock.forward(2 * MIN_OVERTAKEN_S)

    assert pending.lost() == []


def test_chunk_that_an_older_one_was_answered_after_is_not_overtaken(pending, send, clock):
    older = send()
    clock.forward(0.01)
    send()
    clock.forward(0.01)
    pending.answered(older.task_id)

    clock.forward(2 * MIN_OVERTAKEN_S)

    assert pending.lost() == []


def test_silent_queue_loses_its_chunks_at_half_of_their_time(pending, send, clock):
    sent = send(budget_s=4.0)

    clock.forward(1.9)
    assert pending.lost() == []
    clock.forward(0.2)
    assert pending.lost() == [sent]
    assert pending.lost() == []


def test_chunk_of_a_queue_that_fell_silent_is_tried_again_before_its_deadline(pending, send, clock):
    """Two workers take a chunk each; one answers, the other is killed, and nothing follows."""
    answered = send(budget_s=5.0)
    clock.forward(0.01)
    lost = send(budget_s=5.0)
    clock.forward(0.01)
    pending.answered(answered.task_id)

    clock.forward(4.0)

    assert pending.lost() == [lost]


def test_queue_that_works_through_a_backlog_has_lost_nothing(pending, send, clock):
    line = [send(budget_s=5.0) for _ in range(19)]

    for sent in line:
        clock.forward(MIN_OVERTAKEN_S)
        assert pending.lost() == []
        pending.answered(sent.task_id)


def test_overdue_chunk_is_taken_and_resolves_as_expired(pending, send, clock):
    sent = send(budget_s=2.0)
    clock.forward(1.99)
    assert pending.overdue() == []

    clock.forward(0.02)

    assert pending.overdue() == [sent]
    assert pending.overdue() == []
    assert len(pending) == 0
    sent.resolve(expired(sent.chunk))
    assert [outcome.is_expired for outcome in sent.future.result(0).outcomes] == [True]


def test_overdue_chunk_is_not_lost_any_more(pending, send, clock):
    send(budget_s=2.0)

    clock.forward(2.0)

    assert pending.lost() == []


def test_budget_is_in_time_of_this_process_whatever_redis_says_later(pending, send, clock):
    sent = send(budget_s=2.0)

    clock.redis_now = lambda: 0.0
    clock.forward(2.0)

    assert pending.overdue() == [sent]


def test_expired_result_has_an_outcome_for_every_text():
    late = expired(chunk(0.0, "a", "b", "c"))

    assert [outcome.is_expired for outcome in late.outcomes] == [True] * 3
    assert ChunkResult.from_message(late.to_message()) == late


def test_cancelled_chunk_is_forgotten(pending, send, clock):
    sent = send()

    sent.future.cancel()

    assert len(pending) == 0
    clock.forward(4.0)
    assert pending.lost() == pending.overdue() == []
    sent.resolve(BrokerUnavailable())
    assert sent.future.cancelled()


def test_error_becomes_that_of_the_future(send):
    sent = send()

    sent.resolve(BrokerUnavailable())

    assert isinstance(sent.future.exception(0), BrokerUnavailable)


steps = st.one_of(
    st.tuples(st.just("send"), st.floats(0.05, 8), st.sampled_from(["predict.cpu", "predict.gpu"])),
    st.tuples(st.sampled_from(["answer", "cancel", "again"]), st.integers(0, 30), st.none()),
    st.tuples(st.just("pass"), st.floats(0, 2), st.none()),
)


@given(st.lists(steps, max_size=60))
def test_every_chunk_is_taken_exactly_once_and_sent_again_once_at_most(history):
    clock = Clock()
    pending = Pending(clock.redis_now, clock.now)
    sent, taken, again = [], [], []
    for what, number, queue in history:
        if what == "send":
            sent.append(pending.add(chunk(clock.redis_now() + number, "a"), queue))
        elif what == "pass":
            clock.forward(number)
        elif what == "again":
            again += pending.lost()
        elif number < len(sent) and what == "cancel":
            was_open = sent[number] in pending.all()
            sent[number].future.cancel()
            taken += [sent[number]] if was_open else []
        elif number < len(sent):
            found = pending.answered(sent[number].task_id)
            taken += [found] if found else []
        late = pending.overdue()
        assert all(clock.now() - one.sent_at >= one.budget_s for one in late)
        taken += late
    clock.forward(10)
    taken += pending.overdue()

    assert len(pending) == 0
    assert sorted(one.task_id for one in taken) == sorted(one.task_id for one in sent)
    assert len({one.task_id for one in again}) == len(again)


@given(
    st.lists(st.sampled_from(["send", "answer", "wait"]), max_size=12),
    st.lists(st.sampled_from(["send", "answer", "wait"]), max_size=12),
)
def test_lost_chunk_is_sent_again_before_its_deadline_whatever_else_is_answered(before, after):
    """Other chunks come and go in the order of the queue, and then the traffic stops."""
    clock = Clock()
    pending = Pending(clock.redis_now, clock.now)
    others, again = [], []

    def go_on(events):
        for what in events:
            if what == "send":
                others.append(pending.add(chunk(clock.redis_now() + 5.0), "predict.cpu"))
            elif what == "answer" and others:
                pending.answered(others.pop(0).task_id)
            clock.forward(0.2)
            again.extend(pending.lost())

    go_on(before)
    lost = pending.add(chunk(clock.redis_now() + 5.0), "predict.cpu")
    go_on(after)
    while clock.now() - lost.sent_at < lost.budget_s:
        go_on(["wait"])

    assert again.count(lost) == 1
