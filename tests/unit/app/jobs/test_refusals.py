"""What becomes of a job whose version some workers cannot hold, or all."""

from app.jobs.chunks import LATELY_S, UNHELD_S, Chunks, patience_s
from app.settings import Models
from tests.unit.app.jobs.jobs import LEASE_S, begin, commit, ledger, submit


def refuse_for(chunks, clock, job, seconds, holders=()):
    """A worker that is sent chunks for so long and gives them back; the job's status then."""
    until, status = clock.now_s + seconds, "in_progress"
    while clock.now_s < until and status == "in_progress":
        chunks.release(begin(chunks, job, "w1"), "w1", 2.0, "not held")
        clock.now_s += LATELY_S / 3
        status = chunks.sweep(job.id, ["w1", "w2"], True, holders)
    return status


def test_job_whose_version_nobody_can_hold_fails_with_the_reason(book, chunks, clock):
    job = submit(book, 10)
    assert refuse_for(chunks, clock, job, UNHELD_S - LATELY_S) == "in_progress"
    assert refuse_for(chunks, clock, job, 2 * LATELY_S) == "failed"

    job = book.read(job.id)
    assert (job.status, job.counts.failed) == ("failed", 10)
    assert job.error.message == "no worker can hold its model version"


def test_time_without_workers_does_not_count_against_a_version(book, chunks, clock):
    job = submit(book, 10)
    for _ in range(3):
        assert refuse_for(chunks, clock, job, UNHELD_S - LATELY_S) == "in_progress"
        clock.now_s += 10 * UNHELD_S
        assert chunks.sweep(job.id, ["w1"], True) == "in_progress"


def test_version_that_a_worker_computes_with_is_held(redis_client, clock):
    book = ledger(redis_client, clock, max_queued_chunks=2)
    job, chunks = submit(book, 1000), Chunks(book)
    first, second = chunks.feed(job.id, job.spec)
    computing = chunks.claim(job.id, first.first, "w2", 10 * UNHELD_S)
    chunks.release(chunks.claim(job.id, second.first, "w1", LEASE_S), "w1", 0.0, "not held")
    chunks.sweep(job.id, ["w1", "w2"], True)
    for _ in range(5):
        chunks.texts(computing)
        assert refuse_for(chunks, clock, job, UNHELD_S - LATELY_S) == "in_progress"

    assert commit(chunks, computing) == "in_progress"


def test_version_that_a_busy_worker_holds_is_held(book, chunks, clock):
    job = submit(book, 10)

    assert refuse_for(chunks, clock, job, 10 * UNHELD_S, ["w2"]) == "in_progress"


def test_worker_that_refuses_does_not_hold_the_version_whatever_it_says(book, chunks, clock):
    job = submit(book, 10)

    assert refuse_for(chunks, clock, job, 2 * UNHELD_S, ["w1"]) == "failed"


def test_version_is_waited_for_as_long_as_two_of_them_may_take_to_load():
    assert patience_s(Models(load_timeout_s=60)) == 120
    assert patience_s(Models(load_timeout_s=1)) == UNHELD_S


def test_job_whose_version_one_host_cannot_hold_goes_on_with_others(redis_client, clock):
    book = ledger(redis_client, clock, max_queued_chunks=1)
    job, chunks = submit(book, 1000), Chunks(book)
    for _ in range(10):
        assert refuse_for(chunks, clock, job, UNHELD_S - LATELY_S) == "in_progress"
        commit(chunks, begin(chunks, job, "w2"))

    assert book.read(job.id).status == "in_progress"


def test_released_chunk_is_no_attempt(book, chunks, clock):
    job = submit(book, 10)
    chunks.release(begin(chunks, job), "w1", 2.0, "not held")
    clock.now_s += 2
    chunks.sweep(job.id, ["w1"], False)

    assert begin(chunks, job).attempt == 1
