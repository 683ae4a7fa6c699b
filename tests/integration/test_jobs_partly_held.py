"""A job whose version one of two workers cannot hold."""

import time

from app.broker import make_celery
from app.clock import RedisClock
from app.dispatch import Dispatcher
from app.jobs.chunks import Chunks
from app.jobs.ledger import Ledger
from app.jobs.records import JobSpec
from app.models.catalog import read_manifest
from app.settings import Jobs, Redis, Settings
from tasks.job_runner import STAND_BACK_S
from tests.unit.app.jobs.jobs import submit
from tests.waiting import eventually

TEXTS = 3000


def test_worker_without_the_version_of_a_job_hardly_gets_in_the_way_of_one_with_it(machines, name):
    holder, other = machines
    manifest = read_manifest(holder.add(name, "v1"))
    clock = RedisClock()
    with holder.redis.client() as client:
        clock.sync(client)
        book = Ledger(client, Jobs(), clock.now)
        spec = JobSpec(
            ref=f"{name}-v1",
            digest=manifest.untuned_digest,
            labels=manifest.labels,
            queue="jobs.cpu",
        )
        began = time.monotonic()
        job = submit(book, TEXTS, spec)
        with make_celery(Settings(redis=Redis(url=holder.redis.url)), "cli") as celery:
            Dispatcher(celery, Chunks(book)).pump(job.id, spec)
        eventually(lambda: book.read(job.id).has_ended, timeout_s=60)
        took_s = time.monotonic() - began

        assert book.read(job.id).counts.succeeded == TEXTS
        refused = other.worker.logs().count(f"{name}-v1 cannot be served")
        assert refused <= 1 + took_s / STAND_BACK_S
