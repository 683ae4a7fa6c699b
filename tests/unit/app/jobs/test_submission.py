"""A job is accepted whole or not at all."""

import pytest

from app.errors import JobEmpty, JobNotFound, JobTooLarge, StorageFull, SubmissionLost
from app.jobs.blobs import BLOCK_TEXTS
from app.jobs.keys import part_key
from app.jobs.ledger import VALIDATING_TTL_S
from app.jobs.submission import Submission
from tests.unit.app.jobs.jobs import SPEC, ledger, submit


def test_sealed_job_has_all_its_texts(redis_client):
    book = ledger(redis_client)

    job = submit(book, BLOCK_TEXTS + 1)

    assert (job.status, job.counts.total, job.counts.pending) == ("in_progress", 129, 129)
    assert book.read(job.id) == job
    assert redis_client.hlen(part_key(job.id, "texts")) == 2


def test_submission_that_is_broken_off_leaves_nothing(redis_client):
    book = ledger(redis_client)

    with Submission(book, SPEC) as submission:
        for _ in range(BLOCK_TEXTS):
            submission.add("text")
        assert book.read(submission.job_id).status == "validating"

    assert redis_client.keys() == []


def test_job_of_an_api_that_died_vanishes_by_itself_and_never_starts(redis_client):
    book = ledger(redis_client)
    submission = Submission(book, SPEC).__enter__()
    for _ in range(BLOCK_TEXTS):
        submission.add("text", "an id")

    ttls = [redis_client.ttl(key) for key in redis_client.keys("*")]

    assert len(ttls) == 3
    assert all(0 < ttl <= VALIDATING_TTL_S for ttl in ttls)
    assert book.page(10).jobs == []


@pytest.mark.parametrize("lost", ["texts", None], ids=["a block", "everything"])
def test_job_of_which_something_was_lost_is_not_accepted(redis_client, lost):
    book = ledger(redis_client)

    with Submission(book, SPEC) as submission:
        for _ in range(BLOCK_TEXTS):
            submission.add("text")
        key = f"mlserve:job:{submission.job_id}"
        redis_client.delete(key if lost is None else part_key(submission.job_id, lost))
        submission.add("text")
        with pytest.raises(SubmissionLost):
            submission.seal()

    with pytest.raises(JobNotFound):
        book.read(submission.job_id)


def test_job_without_texts_is_refused(redis_client):
    with pytest.raises(JobEmpty), Submission(ledger(redis_client), SPEC) as submission:
        submission.seal()

    assert redis_client.keys() == []


def test_one_text_too_many_is_refused(redis_client):
    with pytest.raises(JobTooLarge, match="3 texts at most"):
        submit(ledger(redis_client, max_texts=3), 4)

    assert submit(ledger(redis_client, max_texts=3), 3).counts.total == 3


def test_one_byte_too_many_is_refused(redis_client):
    book = ledger(redis_client, max_bytes=1024)

    with Submission(book, SPEC) as submission:
        submission.add("ä" * 512)
        with pytest.raises(JobTooLarge, match="1024 bytes of text at most"):
            submission.add("a")


@pytest.fixture
def small_redis(redis_client):
    """The shared Redis with little memory, as long as the test lasts."""
    used = redis_client.info("memory")["used_memory"]
    redis_client.config_set("maxmemory", used + (4 << 20))
    yield redis_client
    redis_client.config_set("maxmemory", 0)


def test_job_that_redis_has_no_memory_for_is_refused_before_it_is_full(small_redis):
    with pytest.raises(StorageFull) as caught:
        ledger(small_redis).check_memory(64 << 20)

    assert caught.value.retry_after_s == 60


def test_redis_that_is_full_is_told_as_that(small_redis):
    small_redis.config_set("maxmemory", 1)

    with pytest.raises(StorageFull):
        ledger(small_redis).create(SPEC)


def test_redis_without_a_limit_takes_everything(redis_client):
    ledger(redis_client).check_memory(1 << 50)


def test_redis_that_tells_its_memory_to_nobody_takes_everything(client_without_info):
    ledger(client_without_info).check_memory(1 << 50)
