"""How a worker computes chunks of jobs: a real host and a real Redis, without Celery's worker."""

import threading
import time
from contextlib import contextmanager

import msgspec
import pytest

from app.broker import make_celery
from app.errors import BrokerUnavailable, Unavailable
from app.jobs.chunks import Chunks
from app.jobs.ledger import Ledger
from app.jobs.records import JobSpec
from app.models.catalog import read_manifest
from app.settings import Drift, Monitoring, Redis, Settings, Worker
from tasks import job_runner
from tasks.host import Host
from tasks.job_runner import JobRunner
from tests.processes import RedisServer
from tests.unit.app.jobs.jobs import as_another_version_wrote, begin, submit
from tests.waiting import eventually

# Celery's own call of redis-py.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex")


class Computer:
    """A host that holds `tiny-v1`, its runner, and the ledger as others see it."""

    def __init__(self, url, client, root, tmp_path, hard_limit_s):
        self.settings = Settings(
            models_dir=str(root),
            default_model="tiny",
            state_dir=str(tmp_path / "state"),
            redis=Redis(url=url, socket_timeout_s=0.2),
            worker=Worker(hard_limit_s=hard_limit_s),
            monitoring=Monitoring(enabled=False),
            drift=Drift(enabled=False),
        )
        self.celery = make_celery(self.settings, "cli")
        self.host = Host(self.settings, "w1@test", "cpu", lambda: ["jobs.cpu"])
        self.runner = JobRunner(self.host, self.celery, lambda: None)
        self.client = client
        self.book = Ledger(client, self.settings.jobs, self.host.now)
        self.chunks = Chunks(self.book)
        manifest = read_manifest(root / "tiny" / "v1")
        self.spec = JobSpec(
            ref="tiny-v1",
            digest=manifest.untuned_digest,
            labels=manifest.labels,
            queue="jobs.cpu",
        )

    def before(self, name, action):
        """Have `action` called before a step on chunks is first tried; a list of all that are."""
        step, tried = getattr(self.runner._chunks, name), []

        def watched(*args, **kwargs):
            if not tried:
                action()
            tried.append(name)
            return step(*args, **kwargs)

        setattr(self.runner._chunks, name, watched)
        return tried

    def sent(self, count=10, **changes):
        """A job, and the number of its first text: its first chunk is on its way."""
        job = submit(self.book, count, msgspec.structs.replace(self.spec, **changes))
        return job, self.chunks.feed(job.id, job.spec)[0].first

    def begin(self, job, first):
        """The thread of a worker that computes a chunk."""
        thread = threading.Thread(target=self.runner.run, args=(job.id, first), daemon=True)
        thread.start()
        return thread

    def close(self):
        """End the threads and the connections."""
        self.runner.leave()
        self.host.stop()
        self.host.redis.close()
        self.celery.backend.client.connection_pool.disconnect()
        self.celery.close()


@contextmanager
def running(server, client, models, tmp_path, hard_limit_s=1000):
    """A computer that has loaded its model."""
    computer = Computer(server.url, client, models, tmp_path, hard_limit_s)
    computer.host.start()
    try:
        yield computer
    finally:
        computer.close()


@pytest.fixture
def computer(redis_server, redis_client, models, tmp_path):
    with running(redis_server, redis_client, models, tmp_path) as computer:
        yield computer


def test_chunk_is_computed_and_committed(computer):
    job, first = computer.sent()

    computer.runner.run(job.id, first)

    job = computer.book.read(job.id)
    assert (job.status, job.counts.succeeded) == ("completed", 10)


def test_worker_that_cannot_hold_a_version_leaves_its_chunk_and_the_next_ones_to_others(
    computer, monkeypatch
):
    monkeypatch.setattr(job_runner, "STAND_BACK_S", 100.0)
    job, first = computer.sent(digest="f" * 64)

    standing_back = computer.begin(job, first)
    eventually(lambda: computer.client.hget(f"mlserve:job:{job.id}", "refused"))
    computer.chunks.sweep(job.id, [], False)

    assert begin(computer.chunks, job, "w2").first == first
    assert standing_back.is_alive()
    computer.runner.leave()
    standing_back.join(10)
    assert not standing_back.is_alive()


def test_worker_that_cannot_read_a_job_stands_back_and_holds_the_versions_of_others(
    computer, monkeypatch
):
    monkeypatch.setattr(job_runner, "STAND_BACK_S", 100.0)
    newer, first = computer.sent()
    submit(computer.book, 10, msgspec.structs.replace(computer.spec, ref="tiny-v2"))
    as_another_version_wrote(computer.client, newer)

    standing_back = computer.begin(newer, first)
    eventually(lambda: computer.client.hget(f"mlserve:job:{newer.id}", "refused"))
    with pytest.raises(Unavailable):
        computer.runner._sweep()

    assert computer.host.reconciler.pinned == {"tiny-v1", "tiny-v2"}
    assert standing_back.is_alive()


@pytest.mark.parametrize(("unheld_s", "status"), [(115, "in_progress"), (125, "failed")])
def test_job_waits_for_its_version_twice_as_long_as_a_load_may_take(computer, unheld_s, status):
    job, first = computer.sent(digest="f" * 64)
    computer.runner.leave()
    computer.runner.run(job.id, first)
    since = computer.host.now() - unheld_s
    computer.client.hset(f"mlserve:job:{job.id}", "refused_at", since)

    computer.runner._sweep()

    assert computer.settings.models.load_timeout_s == 60
    assert computer.book.read(job.id).status == status


@pytest.mark.parametrize("step", ["claim", "commit"])
def test_chunk_is_computed_although_redis_does_late_what_it_was_asked(models, tmp_path, step):
    with (
        RedisServer() as server,
        server.client() as client,
        running(server, client, models, tmp_path) as computer,
    ):
        before, first = computer.sent()
        computer.runner.run(before.id, first)  # Redis knows the scripts now
        job, first = computer.sent()
        tried = computer.before(step, server.pause)
        computing = computer.begin(job, first)
        eventually(lambda: len(tried) > 1)
        server.resume()
        computing.join(20)

        job = computer.book.read(job.id)
        assert (job.status, job.counts.succeeded) == ("completed", 10)


def test_redis_that_stays_away_is_waited_for_less_than_a_task_may_take(models, tmp_path):
    limit_s = 2.0
    with (
        RedisServer() as server,
        server.client() as client,
        running(server, client, models, tmp_path, limit_s) as computer,
    ):
        job, first = computer.sent()
        server.kill()

        began = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            computer.runner.run(job.id, first)

        assert time.monotonic() - began < limit_s
