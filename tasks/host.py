"""Worker process. The object behind the tasks: models, clock, and what others are told of it."""

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import redis

from app import fleet
from app.broker import redis_client
from app.clock import RedisClock
from app.contract import Chunk, ChunkResult, HostState, incarnation
from app.errors import BrokerUnavailable, ModelUnavailable
from app.inference import engine
from app.inference.traffic import Traffic
from app.loop import Loop
from app.models.attempt import Bounds, resident_bytes
from app.models.catalog import Catalog
from app.models.device import Device
from app.models.fatal_loads import FatalLoads, directory_of
from app.models.loader import LoadedModel
from app.models.registry import Registry
from app.monitoring.drift.windows import Windows
from app.monitoring.looks import Looks
from app.monitoring.metrics import Metrics
from app.monitoring.port import SharedPort
from app.monitoring.redis_metrics import TIMEOUT_S
from app.monitoring.stages import Computations
from app.settings import Settings
from app.tracing import provider
from app.tracing.chunks import ChunkTracing
from tasks.reconciler import RECONCILE_S, Reconciler
from tasks.requests import Requests
from tasks.traffic import TrafficReport

logger = logging.getLogger(__name__)

# The last host learns that a version was given up 2 s after the first one, if no broadcast reaches
# it, and an API process sees that within another second.
LAG_S = RECONCILE_S + 2.0
JOIN_S = 2.0


class Host:
    """A process that holds models.

    `start` returns when the active versions are loaded, or cannot be; `queues` gives the names of
    the queues that the process consumes now. `ConfigError` where tracing cannot be done.
    """

    def __init__(
        self, settings: Settings, hostname: str, device: Device, queues: Callable[[], list[str]]
    ) -> None:
        self.settings, self.hostname, self.device, self.queues = settings, hostname, device, queues
        self.redis = redis_client(settings)
        self.clock = RedisClock()
        self.catalog = Catalog(settings.models_dir, settings.default_model)
        self.fatal_loads = FatalLoads(directory_of(settings))
        self.registry = Registry(
            settings.limits,
            device,
            self.now,
            _bounds(settings, self.fatal_loads),
            # Requests that were admitted before the version was given up may still come.
            retire_after_s=settings.request_timeout_ms / 1000 + LAG_S,
        )
        self.reconciler = Reconciler(
            self.catalog,
            self.registry,
            self.redis,
            watch=settings.models.watch,
            beat=self._tell,
            now=self.now,
        )
        self.requests = Requests()
        self.metrics = Metrics("worker") if settings.monitoring.enabled else None
        self.counts = Computations(self.metrics) if self.metrics else None
        self._port = self._include(self.metrics) if self.metrics else None
        self.tracing = _tracing(settings)
        self.traffic = Traffic() if settings.drift.enabled else None
        self._report = self._traffic_report()
        self._beating = Loop("heartbeat", self.beat, fleet.BEAT_S, at_end=self._withdraw)
        self._started_at = 0.0
        self._is_announced = False
        self._chunks = 0
        self._count_lock = threading.Lock()

    def start(self) -> None:
        """Load the active versions, and those that are to become active."""
        try:
            self.clock.sync(self.redis)
        except redis.RedisError:
            logger.warning("Redis cannot be reached yet")
        self._started_at = self.now()
        self.reconciler.start()

    def announce(self) -> None:
        """Tell the fleet that this host is there, now and with every beat.

        Returns when it holds what it has to before it takes its first task.
        """
        self._is_announced = True
        try:
            self.beat()
        except redis.RedisError as error:
            logger.warning("first heartbeat failed", extra={"cause": type(error).__name__})
        self._beating.start()
        self.requests.start()
        if self._port is not None:
            self._port.start()
        if self._report is not None:
            self._report.start()
        self.reconciler.open(self.settings.models.load_timeout_s)

    def leave(self) -> None:
        """Stop announcing this host, so that no more work is sent its way; returns at once.

        The metrics port is left, too: the last task may take long, and others wait for the port.
        """
        self.fatal_loads.leave()
        self._is_announced = False
        self._beating.stop()
        if self._port is not None:
            self._port.leave()

    def stop(self) -> None:
        """End the threads."""
        self.fatal_loads.leave()
        if self._report is not None:
            self._report.stop()
        self.requests.stop()
        self.reconciler.stop()
        self._beating.stop()
        self._beating.join(JOIN_S)
        if self._port is not None:
            self._port.stop()
        if self.metrics is not None:
            self.metrics.leave()
        if self.tracing is not None:
            self.tracing.close()

    def now(self) -> float:
        """Redis server seconds; those of this machine until Redis was reached once."""
        try:
            return self.clock.now()
        except BrokerUnavailable:
            return time.time()

    def answer(
        self, chunk: Chunk, spent: engine.Spent | None = None, sent_at: float | None = None
    ) -> ChunkResult:
        """Compute a chunk with a model that this process holds; `ModelUnavailable` without.

        What it took is added to `spent`; `sent_at` is when its message was sent, in Redis server
        seconds.
        """
        queued_s = None if sent_at is None else max(0.0, self.now() - sent_at)
        model = self.model(chunk.ref, chunk.deadline - self.now())
        size = self.settings.max_batch_size
        result = engine.predict(
            model, chunk, max_batch_size=size, now=self.now, spent=spent, traffic=self.traffic
        )
        self.count_chunk()
        result = msgspec.structs.replace(result, queued_s=queued_s)
        if self.counts is not None:
            self.counts.answered(result)
        return result

    def model(self, ref: str, timeout_s: float) -> LoadedModel:
        """What the registry holds; a version that other hosts had first is waited for."""
        try:
            return self.registry.get(ref)
        except ModelUnavailable:
            self.reconciler.wait_for(ref, max(0.0, timeout_s))
            return self.registry.get(ref)

    def waiting(self) -> int:
        """Messages in the queues that this process consumes; raises redis errors."""
        queues = self.queues()
        with self.redis.pipeline(transaction=False) as pipe:
            for queue in queues:
                pipe.llen(queue)
            return sum(pipe.execute())

    @property
    def incarnation(self) -> str:
        """Names this process and no other, as `HostState.incarnation` does."""
        return incarnation(self.hostname, os.getpid(), self._started_at)

    def count_chunk(self) -> None:
        """One more chunk was answered."""
        with self._count_lock:
            self._chunks += 1

    def state(self) -> HostState:
        """What this host says of itself."""
        return HostState(
            hostname=self.hostname,
            pid=os.getpid(),
            device=self.device,
            queues=self.queues(),
            models=self.registry.held(),
            started_at=self._started_at,
            beat_at=self.now(),
            memory_bytes=resident_bytes(),
            chunks=self._chunks,
            generation=self.reconciler.generation,
        )

    def told(self) -> dict[str, Any]:
        """What this host works towards, and how far it is; JSON types."""
        desired = self.catalog.desired()
        return {
            "generation": {"desired": desired.generation, "reached": self.reconciler.generation},
            "desired": desired.to_message(),
            "requests": self.requests.outcomes(),
            "memory_bytes": resident_bytes(),
            "max_memory_mb": self.settings.worker.max_memory_mb,
        }

    def beat(self) -> None:
        """Read Redis time and publish `state`; raises redis errors."""
        self.clock.sync(self.redis)
        fleet.publish(self.redis, self.state())

    def _include(self, metrics: Metrics) -> SharedPort | None:
        self.registry.on_loaded.append(metrics.count_load)
        if not metrics.is_shared:
            return None
        # Of its own: what is read for a scrape does not get in the way of the reconciler.
        catalog = Catalog(self.settings.models_dir, self.settings.default_model)
        client = redis_client(self.settings, TIMEOUT_S)
        looks = Looks.of(self.settings, catalog, lambda: fleet.look(client))
        metrics.include_all(looks.collectors())
        return SharedPort(self.settings, metrics.readable())

    def _traffic_report(self) -> TrafficReport | None:
        if self.traffic is None:
            return None
        windows = Windows(self.redis, self.settings.drift.window_seconds)
        return TrafficReport(self.traffic, windows, self.now)

    def _tell(self) -> None:
        if self._is_announced:
            self.beat()

    def _withdraw(self) -> None:
        fleet.withdraw(self.redis, self.hostname)


def _bounds(settings: Settings, fatal_loads: FatalLoads) -> Bounds:
    limit_mb = settings.worker.max_memory_mb
    limit_bytes = None if limit_mb is None else limit_mb << 20
    return Bounds(limit_bytes, settings.models.load_timeout_s, fatal_loads)


def _tracing(settings: Settings) -> ChunkTracing | None:
    provider.check(settings)
    return ChunkTracing(provider.make_provider("worker")) if settings.tracing.enabled else None
