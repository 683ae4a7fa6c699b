"""How many texts the chunks of a job have, and how many chunks are on their way."""

import pytest

from app.jobs.chunks import FIRST_CHUNK_TEXTS, FULL_CHUNK_TEXTS, MAX_CHUNK_TEXTS, Chunks
from tests.unit.app.jobs.jobs import LEASE_S, begin, commit, ledger, run_all, submit


def test_only_so_many_chunks_are_on_their_way(redis_client, clock):
    chunks = Chunks(ledger(redis_client, clock, max_queued_chunks=3))
    job = submit(chunks.ledger, 1000)

    assert len(chunks.feed(job.id, job.spec)) == 3
    assert chunks.feed(job.id, job.spec) == []
    commit(chunks, chunks.claim(job.id, 0, "w1", LEASE_S))
    assert len(chunks.feed(job.id, job.spec)) == 1


def test_chunks_grow_to_what_workers_compute_in_the_target_time(book, chunks):
    job = submit(book, 20_000)
    sizes = []
    while tickets := chunks.feed(job.id, job.spec):
        for ticket in tickets:
            claim = chunks.claim(job.id, ticket.first, "w1", LEASE_S)
            sizes.append(claim.count)
            commit(chunks, claim, texts_per_s=2000.0)

    assert sizes[0] == FIRST_CHUNK_TEXTS
    assert max(sizes) == 1000
    assert sizes[-1] <= 2 * FIRST_CHUNK_TEXTS  # smaller towards the end


@pytest.mark.parametrize(
    ("texts_per_s", "texts"),
    [(0.1, 1), (4.0, 16), (80.0, FULL_CHUNK_TEXTS), (800.0, 400), (1e6, MAX_CHUNK_TEXTS)],
)
def test_chunk_takes_longer_where_its_texts_would_be_few(book, chunks, texts_per_s, texts):
    commit(chunks, begin(chunks, submit(book, 64)), texts_per_s=texts_per_s)

    assert begin(chunks, submit(book, 100_000)).count == texts


def test_last_chunks_of_a_slow_version_take_no_longer_than_others_should(book, chunks):
    run_all(book, submit(book, 64))
    commit(chunks, begin(chunks, submit(book, 64)), texts_per_s=80.0)
    job, sizes = submit(book, 3000), []
    while tickets := chunks.feed(job.id, job.spec):
        for ticket in tickets:
            claim = chunks.claim(job.id, ticket.first, "w1", LEASE_S)
            sizes.append(claim.count)
            commit(chunks, claim)

    assert sizes[0] == FULL_CHUNK_TEXTS
    assert sizes[-1] <= 80.0 * book.limits.target_chunk_seconds
