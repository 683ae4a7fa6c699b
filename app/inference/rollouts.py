"""Shared. Swaps and loads as a caller sees them: asked for, waited for, or refused.

What happens is in `app.models.rollout`; workers carry it on whether anybody waits or not.
"""

import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from app import fleet
from app.broker import broker_errors, redis_client
from app.errors import LoadFailed, SwapFailed
from app.fleet import Fleet
from app.models import rollout
from app.models.base import Ref
from app.models.catalog import Catalog
from app.models.progress import Progress
from app.settings import Settings

LOOK_EVERY_S = 0.05

Tell = Callable[[Progress], None]


class Workers(Protocol):
    """What is needed of the way to the workers; a `Gateway` is one."""

    def now(self) -> float:
        """Redis server seconds."""
        ...

    def nudge(self) -> None:
        """Have the workers look at what should be held, now; best effort."""
        ...


class Rollouts:
    """All methods raise `BrokerUnavailable` where Redis cannot be reached.

    `catalog` is its own: what predictions go by must not be ahead of their look at the fleet.
    """

    def __init__(self, settings: Settings, catalog: Catalog, gateway: Workers) -> None:
        self._catalog = catalog
        self._gateway = gateway
        self._timeout_s = settings.models.load_timeout_s
        self._redis = redis_client(settings)

    def find(self, text: str) -> Ref:
        """The version that `text` names now (as `Catalog.resolve` has it); `ModelNotFound`."""
        self._look()
        self._catalog.entries(fresh=True)
        return self._catalog.resolve(text)

    def swap(self, ref: Ref) -> str:
        """Make `ref` the active version once all workers hold it; the id of the rollout.

        Raises `ModelNotFound`, the error of its manifest, `SwapInProgress` or `NoWorker`.
        """
        return self._begin(ref, activate=True)

    def load(self, ref: Ref) -> str:
        """Have all workers hold `ref`; raises as `swap`."""
        return self._begin(ref, activate=False)

    def roll_back(self, name: str) -> str:
        """Swap to the version that was active before; `NoPreviousVersion`."""
        self._look()
        return self.swap(rollout.previous(self._catalog, name))

    def unload(self, ref: Ref) -> None:
        """Have no worker hold `ref`; `ModelNotFound`, `ModelActive` or `SwapInProgress`."""
        self._look()
        self._catalog.get(ref)
        with broker_errors():
            rollout.unload(self._redis, self._catalog, ref)
        self._gateway.nudge()

    def progress(self, rollout_id: str) -> Progress:
        """How far it is; `RolloutNotFound`."""
        seen = self._look()
        with broker_errors():
            return rollout.look(self._redis, self._catalog, seen, rollout_id)

    def wait(
        self, rollout_id: str, timeout_s: float | None = None, tell: Tell = lambda seen: None
    ) -> Progress:
        """Until it has ended, or for `timeout_s`; `SwapFailed` or `LoadFailed` where it failed.

        `tell` is called with every look at it.
        """
        until = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while True:
            with broker_errors():
                rollout.advance(self._redis, self._catalog, self._look(), self._gateway.now())
            seen = self.progress(rollout_id)
            tell(seen)
            if seen.state == "failed":
                self._gateway.nudge()
                raise failure(seen)
            if seen.state == "done" or time.monotonic() >= until:
                self._gateway.nudge()
                return seen
            time.sleep(LOOK_EVERY_S)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _begin(self, ref: Ref, activate: bool) -> str:
        self._look()
        # Just installed, perhaps: the last look at the disk may be a second old.
        self._catalog.entries(fresh=True)
        entry = self._catalog.get(ref)
        with broker_errors():
            rollout_id = rollout.begin(
                self._redis,
                self._catalog,
                entry,
                activate=activate,
                now=self._gateway.now(),
                timeout_s=self._timeout_s,
            )
        self._gateway.nudge()
        return rollout_id

    def _look(self) -> Fleet:
        with broker_errors():
            seen = fleet.read(self._redis)
        self._catalog.follow(seen.desired)
        return seen


def describe(progress: Progress) -> dict[str, Any]:
    """What is told of a rollout, in JSON types."""
    return {
        "id": progress.id,
        "kind": progress.kind,
        "model_version": progress.ref,
        "state": progress.state,
        "activated": progress.activated,
        "previous_version": progress.before,
        "workers": msgspec.to_builtins(progress.workers),
        "started_at": progress.started_at,
        "ended_at": progress.ended_at,
        "reason": progress.reason,
    }


def failure(progress: Progress) -> SwapFailed | LoadFailed:
    """The error of a rollout that failed, with each worker's reason."""
    reasons = {row.hostname: row.error for row in progress.workers if row.error}
    kind = SwapFailed if progress.activate else LoadFailed
    return kind(progress.ref, progress.reason, reasons)
