"""Jobs for tests: a clock that stands still, texts, and results that tell their text."""

import random

from app.contract import Failure
from app.jobs.blobs import encode_results
from app.jobs.chunks import MAX_ATTEMPTS, Chunks
from app.jobs.keys import job_key, keys_of
from app.jobs.ledger import Ledger
from app.jobs.records import JobSpec
from app.jobs.submission import Submission
from app.settings import Jobs

SPEC = JobSpec(ref="tiny-v1", digest="d" * 64, labels=["no", "yes"], queue="jobs.cpu")
LEASE_S = 35.0
# What one text can cost: a worker that computed it among others, and those that were lost while it
# was the one that they computed.
MAX_LOST_WORKERS = 1 + MAX_ATTEMPTS
BAD = Failure("text_failed", "bad")


class Clock:
    """Redis seconds that pass when a test says so."""

    def __init__(self):
        self.now_s = 1_800_000_000.0

    def __call__(self):
        return self.now_s


def ledger(client, clock=None, **limits):
    return Ledger(client, Jobs(**limits), clock or Clock())


def submit(book, count, spec=SPEC, ids=lambda at: None):
    with Submission(book, spec) as submission:
        for at in range(count):
            submission.add(f"text {at}", ids(at))
        return submission.seal()


def as_another_version_wrote(client, job, spec=b'{"ref": "tiny-v1", "priority": 1}'):
    """Replace the specification of a job by one that this mlserve cannot read."""
    client.hset(job_key(job.id), "spec", spec)


def vanish(client, jobs):
    """What Redis does with jobs whose time is over."""
    client.delete(*(key for job in jobs for key in keys_of(job.id)[:8]))


def begin(chunks, job, holder="w1"):
    """Send and claim the first chunk that there is."""
    ticket = chunks.feed(job.id, job.spec)[0]
    claim = chunks.claim(job.id, ticket.first, holder, LEASE_S)
    assert claim is not None
    return claim


def commit(chunks, claim, bad=(), texts_per_s=None):
    """Results that tell the number of their text; those in `bad` fail."""
    indexes = range(claim.first, claim.first + claim.count)
    failures = {index - claim.first: BAD for index in indexes if index in bad}
    blob = encode_results([index % 2 for index in indexes], list(map(float, indexes)), failures)
    return chunks.commit(
        claim,
        blob,
        succeeded=claim.count - len(failures),
        failed=len(failures),
        texts_per_s=texts_per_s,
    )


def run_all(book, job, bad=(), shuffled=False):
    """Compute what is left of a job, as one worker that never fails."""
    chunks = Chunks(book)
    while tickets := chunks.feed(job.id, job.spec):
        if shuffled:
            random.Random(7).shuffle(tickets)
        for ticket in tickets:
            claim = chunks.claim(job.id, ticket.first, "w1", 10)
            assert claim is not None
            commit(chunks, claim, bad)
    return book.read(job.id)
