"""Contender. The Celery half of the naive service: a task per text, everything at its default."""

import os

from celery import Celery
from celery.signals import worker_process_init

from benchmarks.servers.model import Answer, Model

URL = os.environ["BENCH_REDIS_URL"]

celery = Celery("naive", broker=URL, backend=URL)
models: list[Model] = []


@worker_process_init.connect
def load_model(**_: object) -> None:
    """Once in every prefork child."""
    models.append(Model())


@celery.task
def classify(text: str) -> Answer:
    """Classify one text."""
    return models[0].one(text)
