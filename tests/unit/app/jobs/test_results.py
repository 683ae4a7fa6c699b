"""Results are read in the order of the texts, however they were computed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract import Failure
from app.errors import JobGone
from app.jobs import blobs, results
from app.jobs.chunks import Chunks
from tests.unit.app.jobs.jobs import begin, commit, ledger, run_all, submit, vanish

texts = st.text(st.characters(exclude_categories=["Cs"]))
failures = st.builds(Failure, texts, texts)


@pytest.fixture
def book(redis_client):
    return ledger(redis_client)


@given(st.lists(texts, max_size=10))
def test_texts_survive(content):
    assert blobs.decode_texts(blobs.encode_texts(content)) == content


@given(st.lists(st.none() | texts, min_size=1, max_size=10))
def test_custom_ids_survive(ids):
    read = blobs.decode_ids(blobs.encode_ids(ids) or None)

    assert read[: len(ids)] == ids


@given(st.lists(st.tuples(st.integers(0, 65_535), st.floats(0, 1), st.none() | failures)))
def test_results_survive(rows):
    failed = {at: row[2] for at, row in enumerate(rows) if row[2]}
    blob = blobs.encode_results([row[0] for row in rows], [row[1] for row in rows], failed)

    assert list(blobs.decode_results(blob).rows()) == rows


def test_truncated_texts_are_told_apart():
    blob = blobs.encode_results([0, 1, 0], [0.5, 0.6, 0.7], {}, truncated=[2])

    assert [at in blobs.decode_results(blob).truncated for at in range(3)] == [False, False, True]


def test_rows_come_in_order_although_chunks_do_not(book):
    job = run_all(book, submit(book, 1000), bad={5}, shuffled=True)

    rows = list(results.rows(book, job.id))

    assert [row.index for row in rows] == list(range(1000))
    assert [row.index for row in rows if row.error] == [5]
    assert [row.confidence for row in rows[6:]] == list(map(float, range(6, 1000)))
    assert [row.label for row in rows[6:8]] == ["no", "yes"]


@pytest.mark.parametrize("after", [0, 62, 63, 64, 500, 998])
def test_reading_goes_on_after_any_row(book, after):
    job = run_all(book, submit(book, 1000))

    assert next(results.rows(book, job.id, after)).index == after + 1


@pytest.mark.parametrize("after", [999, 5000])
def test_nothing_comes_after_the_last_row(book, after):
    job = run_all(book, submit(book, 1000))

    assert list(results.rows(book, job.id, after)) == []


def test_running_job_is_read_up_to_the_first_text_without_a_result(book):
    job, chunks = submit(book, 1000), Chunks(book)
    first, second, third, *_ = chunks.feed(job.id, job.spec)
    for ticket in (third, first):
        commit(chunks, chunks.claim(job.id, ticket.first, "w1", 10))

    assert len(list(results.rows(book, job.id))) == second.first
    assert list(results.rows(book, job.id, second.first - 1)) == []
    commit(chunks, chunks.claim(job.id, second.first, "w1", 10))
    assert len(list(results.rows(book, job.id, second.first - 1))) == 128


def test_job_that_ends_while_it_is_read_is_read_to_its_end(book):
    job, chunks = submit(book, 1000), Chunks(book)
    commit(chunks, chunks.claim(job.id, chunks.feed(job.id, job.spec)[0].first, "w1", 10))
    rows = results.rows(book, job.id)
    next(rows)

    book.cancel(job.id)

    left = list(rows)
    assert len(left) == 999
    assert sum(row.error is not None for row in left) == 1000 - 64


def test_rows_carry_the_ids_of_their_callers(book):
    job = run_all(book, submit(book, 300, ids=lambda at: f"id {at}" if at % 2 else None))

    rows = list(results.rows(book, job.id, 127))

    assert [row.custom_id for row in rows[:4]] == [None, "id 129", None, "id 131"]
    assert rows[-1].custom_id == "id 299"


@pytest.mark.parametrize("ids", [str, lambda at: None], ids=["ids", "none"])
def test_job_that_expires_while_it_is_read_is_told_before_rows_lack_their_ids(book, ids):
    chunks = Chunks(book)
    commit(chunks, begin(chunks, submit(book, 64)), texts_per_s=1e6)
    job = run_all(book, submit(book, 300, ids=ids))  # one chunk, and three blocks of ids
    rows = results.rows(book, job.id)
    read = [next(rows)]
    vanish(book.redis, [job])

    with pytest.raises(JobGone):
        read.extend(rows)

    assert [row.custom_id for row in read] == [ids(at) for at in range(128)]


def test_job_that_expires_at_a_gap_is_told_before_results_behind_it_are_missed(book, monkeypatch):
    job, chunks = submit(book, 64, ids=str), Chunks(book)
    commit(chunks, chunks.shorten(begin(chunks, job), "w1", 16))
    gap = chunks.shorten(chunks.claim(job.id, 16, "w1", 10), "w1", 16)
    commit(chunks, chunks.claim(job.id, 32, "w1", 10))
    chunks.release(gap, "w1", 0.0, "not held")
    assert book.cancel(job.id).status == "cancelled"
    whole = list(results.rows(book, job.id))
    rows, look = results.rows(book, job.id), book.read

    def look_last(job_id):
        found = look(job_id)
        vanish(book.redis, [job])
        return found

    monkeypatch.setattr(book, "read", look_last)
    with pytest.raises(JobGone):
        list(rows)

    assert [row.index for row in whole if row.error] == list(range(16, 32))
