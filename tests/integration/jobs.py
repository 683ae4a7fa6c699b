"""Submitting jobs to real workers, and keeping those alive as a supervisor would."""

import random
import threading
from contextlib import contextmanager
from copy import copy

from celery.events import EventReceiver
from celery.events.state import State

from app.broker import make_celery, redis_client
from app.clock import RedisClock
from app.contract import JOB_QUEUES
from app.dispatch import Dispatcher
from app.jobs import results
from app.jobs.chunks import Chunks
from app.jobs.ledger import Ledger
from app.jobs.records import JobSpec
from app.jobs.submission import Submission
from app.models.catalog import read_manifest
from app.settings import Redis, Settings
from tests.deadly_classifier import DeadlyClassifier
from tests.integration.workers import FaultyWorker
from tests.models import build_pickle
from tests.waiting import eventually

SETTINGS = {
    "MLSERVE_DEFAULT_MODEL": "deadly",
    "MLSERVE_LIMITS__ALLOW_PICKLE": "true",
    "FAULTS_VISIBILITY_TIMEOUT_S": "45",
}


def build_deadly(root, version="v1"):
    """A version `deadly` of the classifier that ends workers."""
    return build_pickle(root, DeadlyClassifier(), "deadly", version)


def worker(redis_url, models_dir, number=1, **env):
    """A worker that holds `deadly`."""
    hostname = f"w{number}@jobs"
    return FaultyWorker(redis_url, models_dir, hostname=hostname, env=SETTINGS | env)


def texts(count, slow=False):
    """Every third is negative, and all others are positive."""
    return [f"{'good' if at % 3 else 'bad'} {'slow' if slow else ''} {at}" for at in range(count)]


def check(submitter, job, count, bad=()):
    """Every text has the one result that is right for it, and the counts say so."""
    job = submitter.read(job)
    assert (job.status, job.counts.total, job.counts.pending) == ("completed", count, 0)
    assert (job.counts.succeeded, job.counts.failed) == (count - len(bad), len(bad))
    rows = submitter.rows(job)
    assert [row.index for row in rows] == list(range(count))
    assert [row.custom_id for row in rows] == [f"id {at}" for at in range(count)]
    assert {row.index: row.error.code for row in rows if row.error} == dict(bad)
    assert [row.label for row in rows if not row.error] == [
        "positive" if at % 3 else "negative" for at in range(count) if at not in dict(bad)
    ]


class Submitter:
    """The part of the API process that submits jobs and asks for them."""

    def __init__(self, redis_url, models_dir):
        self.settings = Settings(redis=Redis(url=redis_url))
        self.models_dir = models_dir
        self.celery = make_celery(self.settings, "api")
        self.redis = redis_client(self.settings, timeout_s=5)
        clock = RedisClock()
        clock.sync(self.redis)
        self.ledger = Ledger(self.redis, self.settings.jobs, clock.now)
        self.dispatcher = Dispatcher(self.celery, Chunks(self.ledger))
        # Workers that had ended while it waited.
        self.lost = 0

    def submit(self, texts, version="v1", is_sent=True, webhook=None):
        manifest = read_manifest(self.models_dir / "deadly" / version)
        spec = JobSpec(
            ref=str(manifest.ref),
            digest=manifest.untuned_digest,
            labels=manifest.labels,
            queue=JOB_QUEUES["cpu"],
            webhook=webhook,
        )
        with Submission(self.ledger, spec) as submission:
            for at, text in enumerate(texts):
                submission.add(text, f"id {at}")
            job = submission.seal()
        if is_sent:
            self.dispatcher.pump(job.id, spec)
        return job

    def read(self, job):
        return self.ledger.read(job.id)

    def wait(self, job, workers=(), timeout_s=60):
        """The ended job; workers that end meanwhile are started again."""

        def has_ended():
            self.lost += revive(workers)
            return self.read(job).has_ended

        eventually(has_ended, timeout_s)
        return self.read(job)

    def rows(self, job):
        return list(results.rows(self.ledger, job.id))

    def close(self):
        self.redis.close()
        self.celery.backend.result_consumer.stop()
        self.celery.backend.client.connection_pool.disconnect()
        self.celery.close()


def revive(workers):
    """Start what has ended again, as a supervisor does; how many that were."""
    ended = [one for one in workers if one.returncode is not None]
    for one in ended:
        one.launch()
    return len(ended)


def kill_one(workers):
    """SIGKILL for a random worker that runs; how many that were, 0 or 1."""
    running = [one for one in workers if one.returncode is None]
    if running:
        random.choice(running).kill()
    return len(running[:1])


class Monitor(threading.Thread):
    """What Flower is in its core: the tasks of a fleet, by the events of its workers."""

    def __init__(self, celery):
        super().__init__(daemon=True)
        self._celery, self._receiver = celery, None
        self._tasks, self.history = State(), []

    def run(self):
        """Receive events until `stop`."""
        with self._celery.connection_for_read() as connection:
            handlers = {"*": self._see}
            self._receiver = EventReceiver(connection, handlers=handlers, app=self._celery)
            self._receiver.capture(limit=None, timeout=None, wakeup=False)

    def stop(self):
        """Receive no more."""
        self._receiver.should_stop = True
        self.join(10)

    def is_listening(self):
        """Whether an event has come."""
        return self._tasks.event_count > 0

    def of(self, task_id):
        """How a task looked after each event about it."""
        return [task for task in self.history if task.uuid == task_id]

    def _see(self, event):
        self._tasks.event(event)
        if task := self._tasks.tasks.get(event.get("uuid")):
            self.history.append(copy(task))


@contextmanager
def monitored(celery):
    """A monitor of workers that send no events of tasks unless told to, as Flower tells them."""
    monitor = Monitor(celery)
    monitor.start()
    eventually(monitor.is_listening)  # workers send heartbeats
    celery.control.enable_events()
    try:
        yield monitor
    finally:
        celery.control.disable_events()
        monitor.stop()
