"""Shared. Metrics that are read from Redis when somebody asks: queues, jobs, webhooks, memory.

They are the same whichever process answers. A Redis that is away or slow costs a scrape 0.2 s at
most, and only once in a while: all that is missing then is what it would have told.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
import redis
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.contract import JOB_QUEUES, PREDICT_QUEUES
from app.jobs.keys import ACTIVE_KEY, TEXTS_KEY, WEBHOOKS_KEY

logger = logging.getLogger(__name__)

TIMEOUT_S = 0.2
# A Redis that did not answer is left alone for so long.
PAUSE_S = 5.0
QUEUES = (*PREDICT_QUEUES.values(), *JOB_QUEUES.values())
ENDED_STATES = ("succeeded", "failed", "cancelled")


class Memory(NamedTuple):
    """What Redis holds, and what it may hold at most; 0: no limit."""

    used_bytes: int
    max_bytes: int


class Look(NamedTuple):
    """One look at Redis; `ages_s` has the age of the oldest message of each queue.

    `memory` is None where our user may not run INFO.
    """

    depths: dict[str, int]
    ages_s: dict[str, float]
    open_jobs: int
    job_texts: dict[str, int]
    webhooks: int
    memory: Memory | None


class RedisCollector(Collector):
    """Looks with a client of its own, which `connect` makes for a time limit in seconds."""

    def __init__(
        self,
        connect: Callable[[float], "redis.Redis"],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = connect(TIMEOUT_S)
        self._now = now
        self._not_before = float("-inf")
        self._is_refusal_logged = False

    def collect(self) -> Iterator[Metric]:
        """The metric families; only that it is away where Redis does not answer."""
        look = self.look()
        yield GaugeMetricFamily(
            "mlserve_redis_up", "Whether Redis answers: 1 or 0.", value=float(look is not None)
        )
        if look is None:
            return
        yield from _queues(look)
        yield from _jobs(look)
        if look.memory is not None:
            yield from _memory(look.memory)
        elif not self._is_refusal_logged:
            self._is_refusal_logged = True
            logger.warning("memory of Redis not told", extra={"cause": "no permission for INFO"})

    def look(self) -> Look | None:
        """One look; None where Redis does not answer in time, or did not a moment ago."""
        if self._now() < self._not_before:
            return None
        try:
            return look_at(self._client)
        except redis.RedisError:
            self._not_before = self._now() + PAUSE_S
            return None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def look_at(client: "redis.Redis") -> Look:
    """Look once, in one round trip; raises redis errors."""
    with client.pipeline(transaction=False) as pipe:
        for queue in QUEUES:
            pipe.llen(queue)
        for queue in QUEUES:
            # Messages come in at the head and are taken from the tail.
            pipe.lindex(queue, -1)
        pipe.time()
        pipe.zcard(ACTIVE_KEY)
        pipe.hgetall(TEXTS_KEY)
        pipe.zcard(WEBHOOKS_KEY)
        pipe.info("memory")
        *answers, memory = pipe.execute(raise_on_error=False)
    _raise_first(answers)
    *messages, (seconds, microseconds), jobs, texts, webhooks = answers
    depths = dict(zip(QUEUES, messages, strict=False))
    oldest = dict(zip(QUEUES, messages[len(QUEUES) :], strict=True))
    now = seconds + microseconds / 1e6
    return Look(
        depths=depths,
        ages_s={queue: _age_s(raw, now) for queue, raw in oldest.items()},
        open_jobs=jobs,
        job_texts={state.decode(): int(count) for state, count in texts.items()},
        webhooks=webhooks,
        memory=_memory_of(memory),
    )


def _raise_first(answers: list[Any]) -> None:
    for answer in answers:
        if isinstance(answer, redis.RedisError):
            raise answer


def _memory_of(answer: Any) -> Memory | None:
    # Of all that is asked only INFO is not needed to serve.
    if isinstance(answer, redis.exceptions.NoPermissionError):
        return None
    _raise_first([answer])
    return Memory(answer["used_memory"], answer.get("maxmemory", 0))


class _Headers(msgspec.Struct):
    sent_at: float | None = None


class _Message(msgspec.Struct):
    headers: _Headers = msgspec.field(default_factory=_Headers)


def _age_s(raw: bytes | None, now: float) -> float:
    with suppress(ValueError):
        sent_at = msgspec.json.decode(raw or b"", type=_Message).headers.sent_at
        return 0.0 if sent_at is None else max(0.0, now - sent_at)
    return 0.0


def _queues(look: Look) -> Iterator[Metric]:
    depth = GaugeMetricFamily(
        "mlserve_queue_depth_chunks", "Chunks that wait in a queue.", labels=("queue",)
    )
    age = GaugeMetricFamily(
        "mlserve_queue_oldest_age_seconds",
        "How long the oldest chunk of a queue has waited; 0: none waits.",
        labels=("queue",),
    )
    for queue in QUEUES:
        depth.add_metric((queue,), look.depths[queue])
        age.add_metric((queue,), look.ages_s[queue])
    yield depth
    yield age


def _jobs(look: Look) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "mlserve_jobs_open", "Jobs that have not ended, tasks among them.", value=look.open_jobs
    )
    texts = CounterMetricFamily(
        "mlserve_job_texts",
        "Texts of jobs by what became of them: accepted, then succeeded, failed or cancelled.",
        labels=("state",),
    )
    for state in ("accepted", *ENDED_STATES):
        texts.add_metric((state,), look.job_texts.get(state, 0))
    yield texts
    ended = sum(look.job_texts.get(state, 0) for state in ENDED_STATES)
    yield GaugeMetricFamily(
        "mlserve_job_texts_pending",
        "Texts of jobs that have no result yet.",
        value=max(0, look.job_texts.get("accepted", 0) - ended),
    )
    yield GaugeMetricFamily(
        "mlserve_webhooks_waiting", "Webhooks that are to be posted.", value=look.webhooks
    )


def _memory(memory: Memory) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "mlserve_redis_memory_used_bytes", "What Redis holds.", value=memory.used_bytes
    )
    yield GaugeMetricFamily(
        "mlserve_redis_memory_max_bytes",
        "What it may hold at most (maxmemory); 0: no limit.",
        value=memory.max_bytes,
    )
