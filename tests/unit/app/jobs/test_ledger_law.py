"""Whatever happens to a job and in whatever order: every text is accounted for, exactly once."""

import json

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.jobs import results
from app.jobs.chunks import MAX_ATTEMPTS, RESEND_S, Chunks
from app.jobs.keys import part_key
from tests.unit.app.jobs.jobs import Clock, commit, ledger, submit

HOLDERS = ["w1", "w2", "w3"]
LEASE_S = 35.0
MAX_TEXTS = 400


class Law(RuleBasedStateMachine):
    """Submitting, sending, computing, losing and cancelling, in any order, messages repeated."""

    client = None
    messages = Bundle("messages")
    claims = Bundle("claims")

    @initialize(texts=st.integers(1, MAX_TEXTS), queued=st.integers(1, 5))
    def submit(self, texts, queued):
        self.client.flushall()
        self.clock = Clock()
        self.book = ledger(self.client, self.clock, max_queued_chunks=queued)
        self.chunks = Chunks(self.book)
        self.job = submit(self.book, texts)
        self.is_cancelled = False

    @rule(target=messages)
    def feed(self):
        tickets = self.chunks.feed(self.job.id, self.job.spec)
        assert len(tickets) <= self.book.limits.max_queued_chunks
        return multiple(*(ticket.first for ticket in tickets))

    @rule(target=claims, first=messages, holder=st.sampled_from(HOLDERS))
    def claim(self, first, holder):
        claim = self.chunks.claim(self.job.id, first, holder, LEASE_S)
        if claim is None:
            return multiple()
        assert not self.is_cancelled
        texts = range(claim.first, claim.first + claim.count)
        assert self.chunks.texts(claim) == [f"text {index}" for index in texts]
        return (claim, holder)

    @rule(claimed=claims, bad=st.sets(st.integers(0, MAX_TEXTS), max_size=3))
    def commit(self, claimed, bad):
        before = self.book.read(self.job.id).counts
        status = commit(self.chunks, claimed[0], bad, texts_per_s=60.0)
        after = self.book.read(self.job.id).counts
        assert after.ended - before.ended == (claimed[0].count if status else 0)

    @rule(claimed=claims, data=st.data())
    def mark(self, claimed, data):
        claim, holder = claimed
        index = data.draw(st.integers(claim.first, claim.first + claim.count - 1))
        self.chunks.mark(claim, holder, index, LEASE_S)

    @rule(target=claims, claimed=claims, count=st.integers(1, 100))
    def shorten(self, claimed, count):
        shorter = self.chunks.shorten(*claimed, count)
        return multiple() if shorter is None else (shorter, claimed[1])

    @rule(claimed=claims)
    def release(self, claimed):
        self.chunks.release(*claimed, 2.0, "not held")

    @rule(claimed=claims, why=st.sampled_from(["", "hung"]))
    def give_up(self, claimed, why):
        self.chunks.give_up(*claimed, why)

    @rule(seconds=st.sampled_from([1.0, 4.0, LEASE_S, RESEND_S]))
    def wait(self, seconds):
        self.clock.now_s += seconds

    @rule(
        live=st.sets(st.sampled_from(HOLDERS)),
        is_queue_empty=st.booleans(),
        is_queue_full=st.booleans(),
        is_held=st.booleans(),
    )
    def sweep(self, live, is_queue_empty, is_queue_full, is_held):
        holders = live if is_held else ()
        self.chunks.sweep(self.job.id, live, is_queue_empty, holders, is_queue_full)

    @precondition(lambda self: not self.is_cancelled)
    @rule(chance=st.integers(0, 9))
    def cancel(self, chance):
        if chance == 0:
            self.book.cancel(self.job.id)
            self.is_cancelled = True

    @invariant()
    def every_text_is_somewhere(self):
        job = self.book.read(self.job.id)
        raw = self.client.hgetall(part_key(self.job.id, "chunks"))
        rows = {int(first): json.loads(row) for first, row in raw.items()}
        uncut = range(int(self.client.hget(f"mlserve:job:{job.id}", "cursor")), job.counts.total)
        waiting = [*uncut, *(at for first, row in rows.items() for at in span(first, row["c"]))]
        assert len(waiting) == len(set(waiting)) == job.counts.pending

    @rule()
    def results_are_right_and_in_order(self):
        job = self.book.read(self.job.id)
        found = list(results.rows(self.book, self.job.id))
        assert [row.index for row in found] == list(range(len(found)))
        for row in found:
            assert row.error or (row.label, row.confidence) == (
                job.spec.labels[row.index % 2],
                float(row.index),
            )
        if job.has_ended:
            assert len(found) == job.counts.total
            assert sum(row.error is None for row in found) == job.counts.succeeded

    @invariant()
    def every_key_expires(self):
        keys = self.client.keys()
        with self.client.pipeline() as pipe:
            for key in keys:
                pipe.ttl(key)
            assert [key for key, ttl in zip(keys, pipe.execute(), strict=True) if ttl < 0] == []

    def teardown(self):
        """Left alone, the job ends."""
        if not hasattr(self, "job"):
            return
        self.results_are_right_and_in_order()
        for _ in range(50 * MAX_ATTEMPTS):
            self.clock.now_s += LEASE_S + 1
            self.chunks.sweep(self.job.id, [], True)
            for ticket in self.chunks.feed(self.job.id, self.job.spec):
                if claim := self.chunks.claim(self.job.id, ticket.first, "w1", LEASE_S):
                    commit(self.chunks, claim)
            if self.book.read(self.job.id).has_ended:
                self.results_are_right_and_in_order()
                return
        raise AssertionError("the job does not end")


def span(first, count):
    return range(first, first + count)


def test_every_text_is_accounted_for_exactly_once(redis_client, soak):
    run_state_machine_as_test(
        type("LawHere", (Law,), {"client": redis_client}),
        settings=settings(
            max_examples=500 if soak else 20,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )
