"""What is told of a job, how it is listed and cancelled, and that nothing of it stays."""

import pytest

from app.contract import Failure
from app.errors import JobGone, JobNotFound, Unavailable
from app.jobs import ledger as module
from app.jobs import results
from app.jobs.chunks import Chunks
from app.jobs.keys import ACTIVE_KEY, JOBS_KEY
from tests.unit.app.jobs.jobs import (
    Clock,
    as_another_version_wrote,
    commit,
    ledger,
    run_all,
    submit,
    vanish,
)
from tests.waiting import eventually

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize("job_id", [UNKNOWN, "x", "", "*", f"{UNKNOWN}:texts"])
def test_unknown_job_is_not_found(redis_client, job_id):
    with pytest.raises(JobNotFound):
        ledger(redis_client).read(job_id)


def test_progress_rate_and_time_left_follow_the_counts(redis_client):
    clock = Clock()
    book = ledger(redis_client, clock)
    job, chunks = submit(book, 256), Chunks(book)
    assert (job.texts_per_s(clock()), job.eta_s(clock())) == (None, None)

    claim = chunks.claim(job.id, chunks.feed(job.id, job.spec)[0].first, "w1", 10)
    clock.now_s += 2
    commit(chunks, claim, bad={0})

    job = book.read(job.id)
    assert (job.counts.succeeded, job.counts.failed, job.counts.pending) == (63, 1, 192)
    assert job.texts_per_s(clock()) == pytest.approx(32)
    assert job.eta_s(clock()) == pytest.approx(6)


def test_job_is_completed_with_its_last_text(redis_client):
    clock = Clock()
    book = ledger(redis_client, clock)

    job = run_all(book, submit(book, 200), bad={7})

    assert (job.status, job.counts.succeeded, job.counts.failed) == ("completed", 199, 1)
    assert job.ended_at == clock()
    assert job.expires_at == clock() + book.limits.result_ttl_seconds
    assert job.eta_s(clock()) == 0


def test_jobs_are_listed_newest_first_page_by_page(redis_client):
    clock = Clock()
    book = ledger(redis_client, clock)
    ids = []
    for _ in range(5):
        clock.now_s += 1
        ids.append(submit(book, 1).id)

    first = book.page(2)
    second = book.page(2, first.next_before)
    third = book.page(2, second.next_before)

    assert [job.id for page in (first, second, third) for job in page.jobs] == ids[::-1]
    assert third.next_before is None


def test_list_forgets_jobs_that_are_gone(redis_client):
    book = ledger(redis_client)
    kept, gone = submit(book, 1), submit(book, 1)
    redis_client.delete(f"mlserve:job:{gone.id}")

    assert [job.id for job in book.page(10).jobs] == [kept.id]
    assert redis_client.zrange(JOBS_KEY, 0, -1) == [kept.id.encode()]
    with pytest.raises(JobNotFound):
        book.page(10, gone.id)


@pytest.mark.parametrize("count", [1, 2, 3, 150])
def test_jobs_that_run_are_listed_behind_newer_ones_that_are_gone(redis_client, count):
    clock = Clock()
    book = ledger(redis_client, clock)
    oldest, older = submit(book, 10), submit(book, 10)
    clock.now_s += 1
    vanish(redis_client, [submit(book, 1) for _ in range(count)])

    first = book.page(1)
    second = book.page(1, first.next_before)

    assert {job.id for page in (first, second) for job in page.jobs} == {oldest.id, older.id}
    assert second.next_before is None
    assert redis_client.zcard(JOBS_KEY) == 2


def test_jobs_stay_listed_whatever_times_later_ones_are_given(redis_client):
    clock = Clock()
    job = submit(ledger(redis_client, clock), 10)
    clock.now_s += 200
    book = ledger(redis_client, clock, max_run_seconds=60, result_ttl_seconds=60)

    other = submit(book, 10)

    assert {found.id for found in book.page(10).jobs} == {job.id, other.id}


def test_jobs_that_nobody_lists_are_forgotten_some_day(redis_client):
    clock = Clock()
    book = ledger(redis_client, clock)
    submit(book, 1)
    clock.now_s += module.LISTED_S

    kept = submit(book, 1)

    assert redis_client.zrange(JOBS_KEY, 0, -1) == [kept.id.encode()]


def test_page_looks_at_so_many_jobs_that_are_gone_and_says_where_to_go_on(
    redis_client, monkeypatch
):
    monkeypatch.setattr(module, "MORE_NAMES", 3)
    clock = Clock()
    book = ledger(redis_client, clock)
    running = submit(book, 10)
    clock.now_s += 1
    vanish(redis_client, [submit(book, 1) for _ in range(40)])

    pages = [book.page(2)]
    while (before := pages[-1].next_before) is not None:
        pages.append(book.page(2, before))

    assert [[job.id for job in page.jobs] for page in pages] == [[], [running.id]]


def test_job_of_another_version_of_mlserve_is_left_out_of_lists(redis_client, caplog):
    book = ledger(redis_client)
    newer, known = submit(book, 1), submit(book, 1)
    as_another_version_wrote(redis_client, newer)

    assert [job.id for job in book.page(10).jobs] == [known.id]
    assert [job.id for job in book.open(10)] == [known.id]

    assert [record.cause for record in caplog.records] == [
        "Object contains unknown field `priority`"
    ]
    with pytest.raises(Unavailable):
        book.read(newer.id)


def test_cancelling_counts_what_waits_at_once_and_keeps_what_runs(redis_client):
    book = ledger(redis_client)
    job, chunks = submit(book, 1000), Chunks(book)
    running, sent, *_ = chunks.feed(job.id, job.spec)
    claim = chunks.claim(job.id, running.first, "w1", 10)

    cancelled = book.cancel(job.id)

    assert (cancelled.status, cancelled.counts.cancelled) == ("cancelling", 1000 - claim.count)
    assert chunks.claim(job.id, sent.first, "w2", 10) is None
    assert chunks.feed(job.id, job.spec) == []
    assert commit(chunks, claim) == "cancelled"
    assert book.read(job.id).counts.succeeded == claim.count


def test_job_is_cancelled_although_the_worker_that_computed_is_lost(redis_client):
    clock = Clock()
    book = ledger(redis_client, clock)
    job, chunks = submit(book, 10), Chunks(book)
    claim = chunks.claim(job.id, chunks.feed(job.id, job.spec)[0].first, "w1", 10)
    book.cancel(job.id)
    clock.now_s += 11

    assert chunks.sweep(job.id, [], True) == "cancelled"

    assert book.read(job.id).counts.cancelled == 10
    assert commit(chunks, claim) is None
    assert {row.error.code for row in results.rows(book, job.id)} == {"cancelled"}


def test_rest_of_a_chunk_that_is_shortened_after_cancelling_is_cancelled(redis_client):
    book = ledger(redis_client)
    job, chunks = submit(book, 10), Chunks(book)
    claim = chunks.claim(job.id, chunks.feed(job.id, job.spec)[0].first, "w1", 10)
    book.cancel(job.id)

    assert commit(chunks, chunks.shorten(claim, "w1", 4)) == "cancelled"

    counts = book.read(job.id).counts
    assert (counts.succeeded, counts.cancelled) == (4, 6)


def test_ended_job_cannot_be_cancelled_or_failed(redis_client):
    book = ledger(redis_client)
    job = run_all(book, submit(book, 10))

    assert book.cancel(job.id) == job
    book.fail(job.id, Failure("job_failed", "no"))
    assert book.read(job.id) == job


def test_failed_job_fails_what_is_pending_and_keeps_what_is_done(redis_client):
    book = ledger(redis_client)
    job, chunks = submit(book, 200), Chunks(book)
    done, lost, *_ = chunks.feed(job.id, job.spec)
    commit(chunks, chunks.claim(job.id, done.first, "w1", 10))
    late = chunks.claim(job.id, lost.first, "w1", 10)

    book.fail(job.id, Failure("job_failed", "a reason"))

    assert commit(chunks, late) is None
    job = book.read(job.id)
    assert (job.status, job.error.message) == ("failed", "a reason")
    assert (job.counts.succeeded, job.counts.failed, job.counts.pending) == (64, 136, 0)
    rows = list(results.rows(book, job.id))
    assert [row.error is None for row in rows] == [True] * 64 + [False] * 136


def test_nothing_but_a_tombstone_is_left_of_an_expired_job(redis_client):
    book = ledger(redis_client, result_ttl_seconds=1)
    job = run_all(book, submit(book, 200, ids=str), bad={3})
    Chunks(book).settle(job.id)

    eventually(lambda: not redis_client.exists(f"mlserve:job:{job.id}"), timeout_s=5)

    assert book.page(10).jobs == []
    assert [key for key in redis_client.keys("*") if job.id.encode() in key] == [
        f"mlserve:job:{job.id}:gone".encode()
    ]
    with pytest.raises(JobGone):
        book.read(job.id)
    with pytest.raises(JobGone):
        next(results.rows(book, job.id))


def test_index_of_unfinished_jobs_expires_too(redis_client):
    submit(ledger(redis_client), 1)

    assert redis_client.ttl(ACTIVE_KEY) > 0
    assert redis_client.ttl(JOBS_KEY) > 0
