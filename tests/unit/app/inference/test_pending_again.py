"""Which chunks are sent again, by what is known of their version and of what workers said of it."""

from app.inference.pending import (
    MAX_REFS,
    MIN_OVERTAKEN_S,
    OVERTAKEN_ROUND_TRIPS,
    REFUSED_PAUSE_S,
    UNSENT_PAUSE_S,
)


def answer_in(pending, send, clock, seconds, ref):
    done = send(ref=ref)
    clock.forward(seconds)
    pending.answered(done.task_id)


def test_chunk_of_a_slow_version_is_not_overtaken_by_many_of_a_quick_one(pending, send, clock):
    answer_in(pending, send, clock, 0.4, "slow-v1")
    slow = send(ref="slow-v1")

    for _ in range(60):
        answer_in(pending, send, clock, 0.01, "quick-v1")
    assert pending.lost() == []

    clock.forward(OVERTAKEN_ROUND_TRIPS * 0.4 - 0.6 + 0.1)
    assert pending.lost() == [slow]


def test_first_chunk_of_a_version_may_take_half_of_its_time(pending, send, clock):
    first = send(budget_s=4.0, ref="new-v1")
    clock.forward(0.01)
    answer_in(pending, send, clock, 1.9, "quick-v1")

    assert pending.lost() == []
    clock.forward(0.2)
    assert pending.lost() == [first]


def test_refusals_do_not_make_a_version_look_quick(pending, send, clock):
    answer_in(pending, send, clock, 0.4, "slow-v1")
    slow = send(ref="slow-v1")
    for _ in range(60):
        clock.forward(0.005)
        pending.answered(send(ref="slow-v1").task_id, is_computed=False)
    assert pending.lost() == []

    clock.forward(OVERTAKEN_ROUND_TRIPS * 0.4)
    assert pending.lost() == [slow]


def test_versions_that_were_not_asked_for_lately_are_forgotten(pending, send, clock):
    answer_in(pending, send, clock, 0.01, "always-v1")
    for number in range(2 * MAX_REFS):
        answer_in(pending, send, clock, 0.01, f"m{number}-v1")
        answer_in(pending, send, clock, 0.01, "always-v1")

    assert len(pending._round_trips_s) == MAX_REFS
    assert "always-v1" in pending._round_trips_s


def refuse(pending, sent, takers):
    return pending.refused(pending.answered(sent.task_id), takers)


def test_refused_chunk_goes_round_all_workers_before_it_waits(pending, send, clock):
    sent = send()

    assert refuse(pending, sent, takers=2)
    assert pending.lost() == [sent]
    assert refuse(pending, sent, takers=2)
    assert pending.lost() == []
    clock.forward(REFUSED_PAUSE_S)
    assert pending.lost() == [sent]
    assert pending.lost() == []


def test_refused_chunk_is_waited_for_no_longer_than_until_it_is_due(pending, send, clock):
    """Else it would come with the next chunk that lands, and before the one that follows it."""
    sent = send()
    assert pending.quiet_s(1.0) == 1.0

    refuse(pending, sent, takers=1)

    assert 0 < pending.quiet_s(1.0) <= REFUSED_PAUSE_S
    clock.forward(REFUSED_PAUSE_S)
    assert pending.quiet_s(1.0) > 0
    assert pending.lost() == [sent]
    assert pending.quiet_s(1.0) == 1.0


def test_chunk_that_waits_after_refusals_goes_before_one_that_is_refused_later(
    pending, send, clock
):
    """Else a worker without the version would always have the older one's turn."""
    older, newer = send(), send()
    refuse(pending, older, takers=1)
    assert pending.lost() == []

    refuse(pending, newer, takers=2)

    assert pending.lost() == [older, newer]


def test_refused_chunk_is_taken_back_at_its_deadline_and_no_later(pending, send, clock):
    sent = send(budget_s=1.0)
    clock.forward(0.6)
    assert refuse(pending, sent, takers=2)
    assert pending.lost() == [sent]

    clock.forward(0.39)
    assert pending.overdue() == []
    clock.forward(0.02)
    assert pending.overdue() == [sent]
    assert not pending.refused(sent, 2)
    assert len(pending) == 0


def test_refused_chunk_is_not_overtaken_by_what_was_sent_before_it_came_back(pending, send, clock):
    sent = send()
    clock.forward(MIN_OVERTAKEN_S)
    later = send()
    refuse(pending, sent, takers=1)
    clock.forward(REFUSED_PAUSE_S)
    assert pending.lost() == [sent]

    pending.answered(later.task_id)
    clock.forward(MIN_OVERTAKEN_S)

    assert pending.lost() == []


def test_chunk_that_could_not_be_sent_again_is_named_again(pending, send, clock):
    sent = send(budget_s=4.0)
    clock.forward(2.1)
    assert pending.lost() == [sent]

    pending.put_back([sent])

    assert pending.lost() == []
    clock.forward(UNSENT_PAUSE_S)
    assert pending.lost() == [sent]
    assert pending.lost() == []
    clock.forward(4.0 - 2.1 - UNSENT_PAUSE_S)
    assert pending.overdue() == [sent]
