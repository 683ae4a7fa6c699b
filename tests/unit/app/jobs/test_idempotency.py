"""An Idempotency-Key belongs to one submission, whoever dies meanwhile."""

import pytest

from app.errors import SubmissionInProgress, SubmissionLost
from app.jobs.idempotency import TAKEN_TTL_S, Key
from app.jobs.keys import IDEMPOTENCY_PREFIX
from tests.unit.app.jobs.jobs import ledger, submit


def key(client, name="k"):
    return Key(client, name, ttl_s=1000)


def test_key_leads_to_the_job_and_its_answer(redis_client):
    first = key(redis_client).take()
    first.bind("job 1", "fingerprint")
    first.answered({"id": "job 1"})

    used = key(redis_client).take().used

    assert first.used is None
    assert (used.job_id, used.fingerprint, used.answer) == ("job 1", "fingerprint", {"id": "job 1"})
    assert key(redis_client, "other").take().used is None


def test_key_that_is_taken_is_refused(redis_client):
    key(redis_client).take()

    with pytest.raises(SubmissionInProgress):
        key(redis_client).take()


def test_key_is_given_back_after_an_error(redis_client):
    with pytest.raises(RuntimeError), key(redis_client).take():
        raise RuntimeError

    assert key(redis_client).take().used is None


def test_key_whose_job_was_accepted_although_nobody_was_told_stays_its_own(redis_client):
    job, taken = submit(ledger(redis_client), 1), key(redis_client).take()
    taken.bind(job.id, "fingerprint")
    with pytest.raises(RuntimeError), taken:
        raise RuntimeError

    assert key(redis_client).take().used.job_id == job.id


def test_key_whose_job_was_discarded_is_given_back(redis_client):
    book = ledger(redis_client)
    job, taken = submit(book, 1), key(redis_client).take()
    taken.bind(job.id, "fingerprint")
    book.discard(job.id)
    with pytest.raises(RuntimeError), taken:
        raise RuntimeError

    assert key(redis_client).take().used is None


def test_key_of_a_process_that_died_is_free_soon(redis_client):
    key(redis_client).take()

    (name,) = redis_client.keys()

    assert name.startswith(IDEMPOTENCY_PREFIX.encode())
    assert 0 < redis_client.ttl(name) <= TAKEN_TTL_S


def test_key_is_renewed_while_the_submission_goes_on(redis_client):
    taken = key(redis_client).take()
    (name,) = redis_client.keys()
    redis_client.expire(name, 5)
    taken.renew()
    assert redis_client.ttl(name) <= 5  # no round trip for each text

    taken._renewed_at -= 60
    taken.renew()

    assert redis_client.ttl(name) > 5


@pytest.mark.parametrize("step", ["renew", "bind"])
def test_submission_whose_key_another_one_has_is_lost(redis_client, step):
    taken = key(redis_client).take()
    redis_client.flushall()
    key(redis_client).take()
    taken._renewed_at -= 60

    with pytest.raises(SubmissionLost):
        taken.renew() if step == "renew" else taken.bind("job 1", "fingerprint")

    # And what the other one has is not taken from it.
    taken.release()
    with pytest.raises(SubmissionInProgress):
        key(redis_client).take()


def test_bound_key_is_kept_for_as_long_as_it_was_told(redis_client):
    taken = key(redis_client).take()
    taken.bind("job 1", "fingerprint")

    (name,) = redis_client.keys()

    assert TAKEN_TTL_S < redis_client.ttl(name) <= 1000
