"""Worker process. The object behind the tasks: models, clock, and what others are told of it."""

import logging
import os
import threading
import time
from collections.abc import Callable

import psutil
import redis

from app import fleet
from app.broker import redis_client
from app.clock import RedisClock
from app.contract import Chunk, ChunkResult, HostState
from app.errors import BrokerUnavailable, ModelNotFound, ModelUnavailable
from app.inference import engine
from app.models.base import Ref
from app.models.catalog import Catalog
from app.models.device import Device
from app.models.loader import LoadedModel
from app.models.registry import Registry
from app.settings import Settings
from tasks.loop import Loop

logger = logging.getLogger(__name__)

RECONCILE_S = 2.0
JOIN_S = 2.0


class Host:
    """A process that holds models. `start` returns when the default model is loaded or cannot be.

    `queues` gives the names of the queues that the process consumes now.
    """

    def __init__(
        self, settings: Settings, hostname: str, device: Device, queues: Callable[[], list[str]]
    ) -> None:
        self.settings, self.hostname, self.device, self.queues = settings, hostname, device, queues
        self.redis = redis_client(settings)
        self.clock = RedisClock()
        self.catalog = Catalog(settings.models_dir, settings.default_model)
        self.registry = Registry(settings.limits, device, self.now)
        self._default_tried = threading.Event()
        self._passes_begun = self._passes_ended = 0
        self._reconciled = threading.Condition()
        self._reconciling = Loop("reconcile", self._reconcile, RECONCILE_S)
        self._beating = Loop("heartbeat", self.beat, fleet.BEAT_S, at_end=self._withdraw)
        self._started_at = 0.0
        self._chunks = 0
        self._count_lock = threading.Lock()

    def start(self) -> None:
        """Load the default model, then go on with the others in the background."""
        try:
            self.clock.sync(self.redis)
        except redis.RedisError:
            logger.warning("Redis cannot be reached yet")
        self._started_at = self.now()
        self._reconciling.start()
        self._default_tried.wait()

    def announce(self) -> None:
        """Tell the fleet that this host is there, now and with every beat."""
        try:
            self.beat()
        except redis.RedisError as error:
            logger.warning("first heartbeat failed", extra={"cause": type(error).__name__})
        self._beating.start()

    def nudge(self) -> None:
        """Look at the models directory now; returns at once."""
        self._reconciling.nudge()

    def leave(self) -> None:
        """Stop announcing this host, so that no more work is sent its way; returns at once."""
        self._beating.stop()

    def stop(self) -> None:
        """End the threads."""
        self._reconciling.stop()
        self._beating.stop()
        self._beating.join(JOIN_S)

    def now(self) -> float:
        """Redis server seconds; those of this machine until Redis was reached once."""
        try:
            return self.clock.now()
        except BrokerUnavailable:
            return time.time()

    def answer(self, chunk: Chunk) -> ChunkResult:
        """Compute a chunk with a model that this process holds; `ModelUnavailable` without."""
        model = self._model(chunk)
        result = engine.predict(
            model, chunk, max_batch_size=self.settings.max_batch_size, now=self.now
        )
        with self._count_lock:
            self._chunks += 1
        return result

    def _model(self, chunk: Chunk) -> LoadedModel:
        """What the registry holds; a version that other hosts had first is waited for."""
        try:
            return self.registry.get(chunk.ref)
        except ModelUnavailable:
            with self._reconciled:
                # A pass that runs now may have looked at the disk too early; the next one will not.
                next_pass = self._passes_begun + 1
                self.nudge()
                self._reconciled.wait_for(
                    lambda: self._passes_ended >= next_pass or self.registry.holds(chunk.ref),
                    max(0.0, chunk.deadline - self.now()),
                )
            return self.registry.get(chunk.ref)

    def waiting(self) -> int:
        """Messages in the queues that this process consumes; raises redis errors."""
        queues = self.queues()
        with self.redis.pipeline(transaction=False) as pipe:
            for queue in queues:
                pipe.llen(queue)
            return sum(pipe.execute())

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
            memory_bytes=psutil.Process().memory_info().rss,
            chunks=self._chunks,
        )

    def beat(self) -> None:
        """Read Redis time and publish `state`; raises redis errors."""
        self.clock.sync(self.redis)
        fleet.publish(self.redis, self.state())

    def _withdraw(self) -> None:
        fleet.withdraw(self.redis, self.hostname)

    def _reconcile(self) -> None:
        with self._reconciled:
            self._passes_begun += 1
        try:
            entries = self.catalog.entries(fresh=True)
            default = self._default()
            if default is not None and not self._default_tried.is_set():
                self.registry.reconcile({default: entries[default]})
        finally:
            self._default_tried.set()
        if self.registry.reconcile(entries, first=default):
            self._beating.nudge()
        with self._reconciled:
            self._passes_ended = self._passes_begun
            self._reconciled.notify_all()

    def _default(self) -> Ref | None:
        try:
            return self.catalog.resolve()
        except ModelNotFound as error:
            if not self._default_tried.is_set():
                logger.warning("no default model", extra={"cause": str(error)})
            return None
