"""Worker process. The gateway's interface without Redis or workers: the engine runs right here.

For `--local` on the command line, benchmarks, and tests of the routes.
"""

import os
import time
from concurrent.futures import Future

from app.contract import PREDICT_QUEUES, Chunk, ChunkResult, HostState
from app.errors import ServingError
from app.fleet import Fleet
from app.inference.engine import predict
from app.models.registry import Registry


class LocalGateway:
    """Answers from a registry of this process, in the thread that calls `submit`."""

    def __init__(self, registry: Registry, max_batch_size: int) -> None:
        self._registry = registry
        self._max_batch_size = max_batch_size
        self._started_at = self.now()

    def now(self) -> float:
        """Seconds since the epoch by this machine's clock."""
        return time.time()

    def submit(self, chunk: Chunk, device: str) -> Future[ChunkResult]:
        """A future that is already done; it raises `ModelUnavailable` for a ref not held."""
        future: Future[ChunkResult] = Future()
        try:
            model = self._registry.get(chunk.ref)
            batch = self._max_batch_size
            future.set_result(predict(model, chunk, max_batch_size=batch, now=self.now))
        except ServingError as error:
            future.set_exception(error)
        return future

    def fleet(self) -> Fleet:
        """One host, this process, that consumes every queue."""
        host = HostState(
            hostname="local",
            pid=os.getpid(),
            device="cpu",
            queues=list(PREDICT_QUEUES.values()),
            models=self._registry.held(),
            started_at=self._started_at,
            beat_at=self.now(),
            memory_bytes=0,
            chunks=0,
        )
        return Fleet(reachable=True, hosts=[host], queues=dict.fromkeys(host.queues, 0))

    def nudge(self) -> None:
        """Nobody to tell."""

    def close(self) -> None:
        """Nothing to stop."""
