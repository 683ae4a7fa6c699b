"""Worker process. Makes the models that this process holds those that should be held.

One pass compares the desired state (see `app.models.desired`) with the registry, loads, drops, and
tells the fleet. It runs before the first task, every two seconds, and when somebody nudges it.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable

import redis

from app import fleet
from app.errors import ModelNotFound, ServingError
from app.garbage import give_back, settle
from app.models import desired as document
from app.models import rollout
from app.models.base import Ref
from app.models.catalog import Catalog
from app.models.desired import Desired
from app.models.registry import Changes, Registry
from tasks.loop import Loop

logger = logging.getLogger(__name__)

RECONCILE_S = 2.0
# While a rollout waits for other hosts.
ADVANCE_S = 0.1
# What came of so many requests is remembered.
MAX_OUTCOMES = 10


class Reconciler:
    """`beat` tells the fleet what this host holds; `now` is in Redis server seconds."""

    def __init__(
        self,
        catalog: Catalog,
        registry: Registry,
        client: "redis.Redis",
        *,
        watch: bool,
        beat: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        self._catalog, self._registry, self._redis = catalog, registry, client
        self._watch, self._beat, self._now = watch, beat, now
        self.generation = 0
        self._tried: set[str] = set()
        self._requests: deque[tuple[str, Callable[[], str]]] = deque()
        self.outcomes: deque[dict[str, str]] = deque(maxlen=MAX_OUTCOMES)
        self._active_tried = threading.Event()
        self._passes_begun = self._passes_ended = 0
        self._ended = threading.Condition()
        self._loop = Loop("reconcile", self._pass, RECONCILE_S)

    def start(self) -> None:
        """Return when the active versions are loaded or cannot be; the others follow."""
        self._loop.start()
        self._active_tried.wait()

    def nudge(self) -> None:
        """Make the next pass come now; returns at once."""
        self._loop.nudge()

    def request(self, what: str, change: Callable[[], str]) -> None:
        """Have `change`, which may write to Redis, called by the next pass; returns at once.

        What it returns or raises becomes one of `outcomes`.
        """
        self._requests.append((what, change))
        self.nudge()

    def stop(self) -> None:
        """End after the running pass."""
        self._loop.stop()

    def wait_for(self, ref: str, timeout_s: float) -> None:
        """Until `ref` is held, or a whole pass that begins from now on has not brought it."""
        with self._ended:
            # A pass that runs now may have looked too early; the next one will not.
            next_pass = self._passes_begun + 1
            self.nudge()
            self._ended.wait_for(
                lambda: self._passes_ended >= next_pass or self._registry.holds(ref), timeout_s
            )

    def _pass(self) -> float | None:
        with self._ended:
            self._passes_begun += 1
        self._carry_out_requests()
        desired = self._look()
        self._load_active()
        changes = self._reconcile(desired)
        if changes or self.generation != desired.generation:
            self.generation = desired.generation
            self._tell(changes)
        with self._ended:
            self._passes_ended = self._passes_begun
            self._ended.notify_all()
        return self._advance()

    def _carry_out_requests(self) -> None:
        while self._requests:
            what, change = self._requests.popleft()
            try:
                outcome = change()
            except (ServingError, redis.RedisError) as error:
                outcome = f"refused: {error}"
                logger.warning("request refused", extra={"request": what, "cause": str(error)})
            self.outcomes.append({"request": what, "outcome": outcome})

    def _look(self) -> Desired:
        """The newest desired state that is known anywhere; Redis gets it where it is behind."""
        self._catalog.entries(fresh=True)
        try:
            stored = document.read(self._redis)
            known = self._catalog.desired()
            if stored is None or stored.generation < known.generation:
                stored = document.restore(self._redis, known)
            self._catalog.follow(stored)
        except redis.RedisError as error:
            logger.debug("desired state from the copy", extra={"cause": repr(error)})
        desired = self._catalog.desired()
        try:
            document.write_copy(self._catalog.root, desired)
        except OSError as error:
            logger.debug("no copy of the desired state", extra={"cause": error.strerror})
        return desired

    def _load_active(self) -> None:
        if self._active_tried.is_set():
            return
        try:
            entries = self._catalog.entries()
            self._registry.reconcile({ref: entries[ref] for ref in self._active()})
        finally:
            self._active_tried.set()

    def _active(self) -> list[Ref]:
        """The version of every bare name, that of the default model first."""
        names = {ref.name for ref in self._catalog.entries()}
        found = [ref for name in sorted(names) if (ref := self._catalog.active(name)) is not None]
        try:
            default = self._catalog.resolve()
        except ModelNotFound as error:
            if not self._active_tried.is_set():
                logger.warning("no default model", extra={"cause": str(error)})
            return found
        return [default, *(ref for ref in found if ref != default)]

    def _reconcile(self, desired: Desired) -> Changes:
        entries = self._catalog.entries()
        wanted = desired.wanted(entries.keys(), self._watch)
        running = {rollout.id: Ref.parse(rollout.ref) for rollout in desired.rollouts.values()}
        # Somebody asks for it again: perhaps what failed last time was not its fault.
        self._registry.retry(ref for key, ref in running.items() if key not in self._tried)
        self._tried = set(running)
        return self._registry.reconcile(
            {ref: entry for ref, entry in entries.items() if ref in wanted},
            first=self._active(),
            missing=wanted - entries.keys(),
        )

    def _tell(self, changes: Changes) -> None:
        if changes.dropped:
            give_back()
        elif changes.loaded:
            settle()
        try:
            self._beat()
        except redis.RedisError as error:
            logger.debug("not told yet", extra={"cause": repr(error)})

    def _advance(self) -> float | None:
        if not self._catalog.desired().rollouts:
            return None
        rollout.advance(self._redis, self._catalog, fleet.read(self._redis), self._now())
        return ADVANCE_S if self._catalog.desired().rollouts else 0.0
