"""The sweeper sends, tells, and lets go of what has ended."""

import os

import pytest

from app import fleet
from app.contract import HeldModel, HostState
from app.errors import Unavailable
from app.jobs.chunks import GRACE_S, LATELY_S, RESEND_S, UNHELD_S, Chunks
from app.jobs.keys import SWEEPER_KEY
from app.jobs.sweeper import LEASE_S, Sweeper
from tests.unit.app.jobs.jobs import SPEC, Clock, as_another_version_wrote, commit, ledger, submit


class World:
    """A ledger, a sweeper, and what the sweeper did."""

    def __init__(self, client):
        self.client, self.clock = client, Clock()
        self.book = ledger(client, self.clock)
        self.chunks = Chunks(self.book)
        self.sent, self.told, self.before, self.revoked = [], [], [], set()
        self.sweeper = self.another()

    def another(self):
        """One more sweeper: that of another worker."""
        return Sweeper(
            self.chunks,
            pump=lambda job_id, spec: self.sent.extend(self.chunks.feed(job_id, spec)),
            tell=self.tell,
            is_revoked=self.revoked.__contains__,
        )

    def tell(self, job, before):
        self.told.append(job)
        self.before.append(before)

    def beat(self, hostname, *held):
        state = HostState(
            hostname=hostname,
            pid=os.getpid(),
            device="cpu",
            queues=["jobs.cpu"],
            models=[HeldModel(ref, "d" * 64, fleet.READY) for ref in held],
            started_at=1.5,
            beat_at=2.0,
            memory_bytes=1,
            chunks=0,
        )
        fleet.publish(self.client, state)
        return state.incarnation

    def states(self):
        return [(job.status, job.counts.succeeded) for job in self.told]


@pytest.fixture
def world(redis_client):
    return World(redis_client)


def test_first_step_sends_tells_and_pins(world):
    job = submit(world.book, 100)

    world.sweeper.step()

    assert [ticket.first for ticket in world.sent] == [0, 64]
    assert world.states() == [("in_progress", 0)]
    assert world.sweeper.pinned == {SPEC.ref}
    assert world.chunks.active() == [job.id]


def test_only_changes_are_told(world):
    job = submit(world.book, 100)
    world.sweeper.step()
    world.sweeper.step()
    assert len(world.told) == 1

    commit(world.chunks, world.chunks.claim(job.id, 0, "w1", 10))
    world.sweeper.step()

    assert world.states() == [("in_progress", 0), ("in_progress", 64)]


def test_end_is_told_and_the_job_let_go_of(world):
    job = submit(world.book, 10)
    world.sweeper.step()
    commit(world.chunks, world.chunks.claim(job.id, 0, "w1", 10))

    world.sweeper.step()

    assert world.states()[-1] == ("completed", 10)
    assert world.chunks.active() == []
    assert world.sweeper.pinned == frozenset()


def test_end_that_could_not_be_told_is_told_again(world, redis_client):
    job = submit(world.book, 10)
    world.book.cancel(job.id)
    tell, failing = world.sweeper._tell, [ZeroDivisionError]

    def broken(*told):
        if failing:
            raise failing.pop()
        tell(*told)

    world.sweeper._tell = broken
    with pytest.raises(ZeroDivisionError):
        world.sweeper.step()
    assert world.chunks.active() == [job.id]

    world.sweeper.step()

    assert world.states() == [("cancelled", 0)]


def test_job_that_cannot_be_looked_after_does_not_hold_up_others(world):
    submit(world.book, 10)
    other = submit(world.book, 10)
    pump = world.sweeper._pump

    def broken(job_id, spec):
        if job_id != other.id:
            raise ZeroDivisionError
        pump(job_id, spec)

    world.sweeper._pump = broken
    with pytest.raises(ZeroDivisionError):
        world.sweeper.step()

    assert [ticket.job_id for ticket in world.sent] == [other.id]


def test_job_of_another_version_of_mlserve_does_not_hold_up_others(world, redis_client):
    newer, garbage, other = (submit(world.book, 10) for _ in range(3))
    as_another_version_wrote(redis_client, newer)
    as_another_version_wrote(redis_client, garbage, b"\xff")
    world.revoked.add(newer.id)

    with pytest.raises(Unavailable):
        world.sweeper.step()

    assert [ticket.job_id for ticket in world.sent] == [other.id]
    assert [job.id for job in world.told] == [other.id]
    assert world.chunks.refs([newer.id, garbage.id]) == {newer.id: "tiny-v1"}
    assert world.sweeper.pinned == {SPEC.ref}


def test_end_that_comes_while_progress_is_told_has_the_last_word(world):
    job = submit(world.book, 10)

    def slow(job, before):
        world.tell(job, before)
        world.book.cancel(job.id)

    world.sweeper._tell = slow
    world.sweeper.step()

    assert [job.status for job in world.told] == ["in_progress", "cancelled"]
    assert job.id not in world.chunks.active()


def test_revoked_task_cancels_its_job(world):
    job = submit(world.book, 10)
    world.revoked.add(job.id)

    world.sweeper.step()

    assert world.sent == []
    assert [job.status for job in world.told] == ["cancelled"]


def test_chunk_of_a_host_that_was_replaced_is_sent_again(world):
    job = submit(world.book, 10)
    alive = world.beat("w1")
    world.sweeper.step()
    world.chunks.claim(job.id, 0, alive.replace("1.5", "1.0"), 35)

    world.sweeper.step()
    world.clock.now_s += GRACE_S
    world.sweeper.step()

    assert [ticket.first for ticket in world.sent] == [0, 0]


@pytest.mark.parametrize(("held", "status"), [((), "failed"), ((SPEC.ref,), "in_progress")])
def test_version_that_some_workers_refuse_is_held_where_another_one_says_so(world, held, status):
    job = submit(world.book, 10)
    refusing, _ = world.beat("w1"), world.beat("w2", *held)
    until = world.clock.now_s + UNHELD_S + LATELY_S
    while world.clock.now_s < until and not world.book.read(job.id).has_ended:
        world.sweeper.step()
        claim = world.chunks.claim(job.id, 0, refusing, 10)
        world.chunks.release(claim, refusing, 0.0, "not held")
        world.clock.now_s += LATELY_S / 3
        world.sweeper.step()

    assert world.book.read(job.id).status == status


def test_no_more_messages_are_sent_than_open_jobs_may_have_in_a_queue(world):
    submit(world.book, 10)
    most = world.book.limits.max_queued_chunks
    world.client.rpush(SPEC.queue, *["a message"] * most)
    world.sweeper.step()
    world.clock.now_s += RESEND_S
    world.sweeper.step()
    assert len(world.sent) == 1

    world.client.lpop(SPEC.queue)
    world.clock.now_s += RESEND_S
    world.sweeper.step()

    assert len(world.sent) == 2


def test_job_that_vanished_is_let_go_of(world, redis_client):
    job = submit(world.book, 10)
    redis_client.delete(f"mlserve:job:{job.id}")

    world.sweeper.step()

    assert world.chunks.active() == []
    assert world.told == []


def test_what_is_told_comes_with_what_was_told_before(world):
    job = submit(world.book, 100)
    world.sweeper.step()
    world.chunks.claim(job.id, 0, "w1", 10)
    world.sweeper.step()

    assert world.before == [None, world.told[0]]
    assert [job.started_at is None for job in world.told] == [True, False]


def test_one_worker_at_a_time_looks_after_the_jobs(world, redis_client):
    job, other = submit(world.book, 100), world.another()
    world.sweeper.step()

    other.step()

    assert world.states() == [("in_progress", 0)]
    assert other.pinned == {SPEC.ref}
    assert 0 < redis_client.pttl(SWEEPER_KEY) <= LEASE_S * 1000
    redis_client.delete(SWEEPER_KEY)  # as the end of the lease does
    commit(world.chunks, world.chunks.claim(job.id, 0, "w1", 10))
    other.step()
    world.sweeper.step()
    assert world.states() == [("in_progress", 0), ("in_progress", 64)]


def test_worker_that_cannot_look_after_a_job_lets_others_try(world):
    job, other = submit(world.book, 10), world.another()
    world.sweeper._pump = lambda job_id, spec: 1 / 0
    with pytest.raises(ZeroDivisionError):
        world.sweeper.step()

    other.step()

    assert [ticket.job_id for ticket in world.sent] == [job.id]


def test_every_worker_cancels_what_it_knows_as_revoked(world):
    job, other = submit(world.book, 10), world.another()
    world.sweeper.step()
    world.revoked.add(job.id)

    other.step()

    assert world.book.read(job.id).status == "cancelled"


def test_worker_that_ends_a_job_tells_of_it_at_once(world):
    job, other = submit(world.book, 10), world.another()
    world.sweeper.step()
    commit(world.chunks, world.chunks.claim(job.id, 0, "w1", 10))

    other.report(job.id)
    other.report("no job")

    assert world.states()[-1] == ("completed", 10)
    assert world.chunks.active() == []
