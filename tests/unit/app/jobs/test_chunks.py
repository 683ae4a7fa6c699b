"""How chunks are cut, lost, taken back, and narrowed down to the text that ends workers."""

import pytest

from app.errors import MessageRefused
from app.jobs import results
from app.jobs.chunks import (
    GRACE_S,
    MAX_ATTEMPTS,
    MAX_CHUNK_TEXTS,
    RESEND_S,
    Chunks,
)
from app.jobs.keys import job_key
from tests.unit.app.jobs.jobs import (
    LEASE_S,
    MAX_LOST_WORKERS,
    as_another_version_wrote,
    begin,
    commit,
    ledger,
    run_all,
    submit,
)


def poison(chunks, job, bad, why=""):
    """Workers that are ended by some texts, until the job has ended; how many were."""
    ended = 0
    while not chunks.ledger.read(job.id).has_ended:
        chunks.sweep(job.id, ["alive"], True)
        for ticket in chunks.feed(job.id, job.spec):
            holder = f"w{ended}"
            claim = chunks.claim(job.id, ticket.first, holder, LEASE_S)
            deadly = bad & set(range(claim.first, claim.first + claim.count))
            if not deadly:
                commit(chunks, claim)
                continue
            ended += 1
            if claim.attempt > 1:
                assert chunks.mark(claim, holder, min(deadly), LEASE_S)
            chunks.give_up(claim, holder, why)
    return ended


@pytest.mark.parametrize("bad", [{0}, {77}, {199}, {0, 1}, {62, 63, 64, 65}, {*range(0, 200, 17)}])
def test_texts_that_end_workers_fail_alone_and_cost_so_many_of_them(book, chunks, bad):
    job = submit(book, 200)

    ended = poison(chunks, job, bad)

    failed = [row for row in results.rows(book, job.id) if row.error]
    assert [(row.index, row.error.code) for row in failed] == [
        (text, "text_given_up") for text in sorted(bad)
    ]
    assert book.read(job.id).counts.succeeded == 200 - len(bad)
    assert ended <= MAX_LOST_WORKERS * len(bad)


def test_no_chunk_is_too_large_for_that_bound(redis_client, clock):
    book = ledger(redis_client, clock)
    chunks = Chunks(book)
    commit(chunks, begin(chunks, submit(book, 64)), texts_per_s=1e6)
    job = submit(book, 3 * MAX_CHUNK_TEXTS)

    assert poison(chunks, job, {4321}) == MAX_LOST_WORKERS


def test_text_that_hangs_fails_with_its_own_reason(book, chunks, clock):
    job = submit(book, 10)

    poison(chunks, job, {4}, why="hung")

    assert [row.error.code for row in results.rows(book, job.id) if row.error] == ["text_hung"]


def test_chunk_that_is_lost_before_any_text_is_halved(book, chunks, clock):
    job = submit(book, 8)
    for _ in range(MAX_ATTEMPTS):
        chunks.give_up(begin(chunks, job), "w1")
        chunks.sweep(job.id, ["w1"], False)

    halves = [
        chunks.claim(job.id, ticket.first, "w1", LEASE_S)
        for ticket in chunks.feed(job.id, job.spec)
    ]

    assert [(half.first, half.count) for half in halves] == [(0, 4), (4, 4)]


def test_chunk_of_a_lost_host_is_taken_back_after_a_grace(book, chunks, clock):
    job = submit(book, 10)
    claim = begin(chunks, job, "w1")

    chunks.sweep(job.id, ["w2"], True)
    assert chunks.feed(job.id, job.spec) == []
    clock.now_s += GRACE_S
    chunks.sweep(job.id, ["w2"], True)

    again = begin(chunks, job, "w2")
    assert (again.first, again.count, again.attempt) == (claim.first, claim.count, 2)


def test_lost_host_that_lives_after_all_may_be_first(book, chunks, clock):
    job = submit(book, 10)
    claim = begin(chunks, job, "w1")
    chunks.give_up(claim, "w1")
    chunks.sweep(job.id, [], True)
    again = begin(chunks, job, "w2")

    assert commit(chunks, claim) == "completed"
    assert commit(chunks, again) is None
    assert book.read(job.id).counts.succeeded == 10


def test_chunk_of_a_living_host_is_left_alone_until_its_lease_ends(book, chunks, clock):
    job = submit(book, 10)
    begin(chunks, job, "w1")
    clock.now_s += LEASE_S - 1
    chunks.sweep(job.id, ["w1"], True)
    assert chunks.feed(job.id, job.spec) == []

    clock.now_s += 1
    chunks.sweep(job.id, ["w1"], True)

    assert begin(chunks, job, "w1").attempt == 2


@pytest.mark.parametrize(("is_queue_empty", "wait_s"), [(True, GRACE_S + 1), (False, RESEND_S)])
def test_message_that_was_lost_is_sent_again_and_is_no_attempt(
    book, chunks, clock, is_queue_empty, wait_s
):
    job = submit(book, 10)
    chunks.feed(job.id, job.spec)
    clock.now_s += wait_s
    chunks.sweep(job.id, ["w1"], is_queue_empty)

    assert begin(chunks, job).attempt == 1


def test_message_that_waits_in_its_queue_is_not_sent_twice(book, chunks, clock):
    job = submit(book, 10)
    chunks.feed(job.id, job.spec)
    clock.now_s += RESEND_S - 1
    chunks.sweep(job.id, ["w1"], False)

    assert chunks.feed(job.id, job.spec) == []


def test_message_is_not_sent_again_while_its_queue_has_as_many_as_there_may_be(book, chunks, clock):
    job = submit(book, 10)
    chunks.feed(job.id, job.spec)
    for _ in range(3):
        clock.now_s += RESEND_S
        chunks.sweep(job.id, ["w1"], False, is_queue_full=True)
        assert chunks.feed(job.id, job.spec) == []

    clock.now_s += RESEND_S
    chunks.sweep(job.id, ["w1"], False, is_queue_full=False)

    assert begin(chunks, job).attempt == 1


def test_chunk_that_was_given_back_is_sent_again_however_many_messages_wait(book, chunks):
    job = submit(book, 10)
    chunks.release(begin(chunks, job), "w1", 0.0, "not held")
    chunks.sweep(job.id, ["w1"], False, is_queue_full=True)

    assert begin(chunks, job).attempt == 1


def test_duplicate_message_finds_nothing_to_do(book, chunks):
    job = submit(book, 10)
    claim = begin(chunks, job)

    assert chunks.claim(job.id, 0, "w2", LEASE_S) is None
    commit(chunks, claim)
    assert chunks.claim(job.id, 0, "w2", LEASE_S) is None


def test_claim_whose_answer_was_lost_is_made_again_with_its_token(book, chunks):
    job = submit(book, 10)
    first = chunks.feed(job.id, job.spec)[0].first
    claim = chunks.claim(job.id, first, "w1", LEASE_S, "mine")

    assert chunks.claim(job.id, first, "w1", LEASE_S, "mine") == claim
    assert chunks.claim(job.id, first, "w1", LEASE_S, "another") is None
    book.cancel(job.id)  # what is being computed is still delivered
    assert chunks.claim(job.id, first, "w1", LEASE_S, "mine") == claim
    assert commit(chunks, claim) == "cancelled"
    assert chunks.claim(job.id, first, "w1", LEASE_S, "mine") is None


def test_chunk_that_was_cut_meanwhile_is_no_longer_the_holders(book, chunks, clock):
    job = submit(book, 10)
    chunks.give_up(begin(chunks, job), "w1")
    chunks.sweep(job.id, ["w1"], True)
    claim = begin(chunks, job)
    chunks.mark(claim, "w1", 5, LEASE_S)
    chunks.give_up(claim, "w1")
    chunks.sweep(job.id, ["w1"], True)

    assert not chunks.mark(claim, "w1", 6, LEASE_S)
    assert commit(chunks, claim) is None
    assert run_all(book, job).counts.succeeded == 10


def test_rest_of_a_chunk_that_takes_too_long_is_a_chunk_of_its_own(book, chunks):
    job = submit(book, 10)
    claim = begin(chunks, job)

    shorter = chunks.shorten(claim, "w1", 3)

    assert commit(chunks, claim) is None  # it is no longer whole
    assert commit(chunks, shorter) == "in_progress"
    rest = begin(chunks, job)
    assert (rest.first, rest.count, rest.attempt) == (3, 7, 1)
    assert commit(chunks, rest) == "completed"


def test_chunk_is_shortened_by_its_holder_only(book, chunks):
    claim = begin(chunks, submit(book, 10))

    assert chunks.shorten(claim, "w2", 3) is None
    assert chunks.shorten(claim, "w1", 11) is None


def test_text_that_a_chunk_was_shortened_by_is_not_marked_in_it(book, chunks):
    job = submit(book, 10)
    claim = begin(chunks, job)
    shorter = chunks.shorten(claim, "w1", 3)

    assert not chunks.mark(claim, "w1", 3, LEASE_S)
    assert chunks.mark(shorter, "w1", 2, LEASE_S)
    chunks.give_up(shorter, "w1")
    chunks.sweep(job.id, ["w1"], False)
    assert run_all(book, job).counts.succeeded == 10


def test_chunk_is_shortened_once_however_often_that_is_asked(book, chunks):
    job = submit(book, 10)
    claim = begin(chunks, job)

    shorter = chunks.shorten(claim, "w1", 3)

    assert chunks.shorten(claim, "w1", 3) == shorter
    assert run_all(book, job).counts.pending == 3
    assert commit(chunks, shorter) == "completed"


def test_chunk_of_another_version_of_mlserve_is_given_back(book, chunks, clock, redis_client):
    job = submit(book, 10)
    first = chunks.feed(job.id, job.spec)[0].first
    known = redis_client.hget(job_key(job.id), "spec")
    as_another_version_wrote(redis_client, job)

    with pytest.raises(MessageRefused):
        chunks.claim(job.id, first, "w1", LEASE_S)

    as_another_version_wrote(redis_client, job, known)
    chunks.sweep(job.id, ["w1"], False)
    assert begin(chunks, job, "w2").attempt == 1


def test_job_that_runs_too_long_expires_with_its_rest(book, chunks, clock):
    job = submit(book, 200)
    commit(chunks, begin(chunks, job))
    clock.now_s += book.limits.max_run_seconds

    assert chunks.sweep(job.id, [], True) == "expired"

    job = book.read(job.id)
    assert (job.counts.succeeded, job.counts.failed) == (64, 136)
    assert [row.error.code for row in results.rows(book, job.id, 63)] == ["job_expired"] * 136


def test_job_that_is_gone_is_looked_after_no_more(book, chunks, redis_client):
    job = submit(book, 1)
    redis_client.delete(f"mlserve:job:{job.id}")

    assert chunks.sweep(job.id, [], True) == "gone"
    assert chunks.active() == []
