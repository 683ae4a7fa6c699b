"""Worker process. Makes the models that this process holds those that should be held.

One pass compares the desired state (see `app.models.desired`) with the registry, loads, drops, and
tells the fleet. It runs before the first task, every two seconds, and when somebody nudges it.
"""

import logging
import threading
from collections.abc import Callable, Collection

import redis

from app import fleet
from app.errors import MessageRefused, ModelNotFound
from app.garbage import give_back, settle
from app.loop import Loop
from app.models import desired as document
from app.models import rollout
from app.models.base import Ref
from app.models.catalog import Catalog
from app.models.desired import Desired
from app.models.registry import Changes, Registry

logger = logging.getLogger(__name__)

RECONCILE_S = 2.0
# While a rollout waits for other hosts.
ADVANCE_S = 0.1

# Troubles that pass or stay: each is told once, and again when its cause changes.
NO_DEFAULT = "no default model"
NO_COPY = "no copy of the desired state beside the models"
NOT_UNDERSTOOD = "desired state in Redis is not understood"


class Reconciler:
    """`beat` tells the fleet what this host holds; `now` is in Redis server seconds.

    `pinned` are refs that running jobs need: held like those that somebody asked for.
    """

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
        self.pinned: Collection[str] = frozenset()
        self._catalog, self._registry, self._redis = catalog, registry, client
        self._watch, self._beat, self._now = watch, beat, now
        self.generation = 0
        self._tried: set[str] = set()
        self._troubles: dict[str, str] = {}
        # Until the first task only what it may need is loaded, so that it comes soon.
        self._is_open = False
        self._passes_begun = self._passes_ended = 0
        # Of a pass, or of the load of one version, which may be long before.
        self._ended = threading.Condition()
        registry.on_loaded.append(self._wake)
        self._loop = Loop("reconcile", self.step, RECONCILE_S)

    def start(self) -> None:
        """Return when what a task may need is loaded or cannot be; nothing else is loaded yet."""
        self._loop.start()
        with self._ended:
            self._ended.wait_for(lambda: self._passes_ended)

    def open(self, timeout_s: float) -> None:
        """Look once more, for `timeout_s` at most, then load in the background what is left.

        Called after the first heartbeat: a swap that was decided without this host is seen now, and
        any other waits for it.
        """
        self._wait_for_pass(lambda: False, timeout_s)
        self._is_open = True
        self.nudge()

    def nudge(self) -> None:
        """Make the next pass come now; returns at once."""
        self._loop.nudge()

    def stop(self) -> None:
        """End after the running pass."""
        self._loop.stop()

    def wait_for(self, ref: str, timeout_s: float) -> None:
        """Until `ref` is held, or a whole pass that begins from now on has not brought it.

        A pass that loads others after it is not waited for.
        """
        self._wait_for_pass(lambda: self._registry.holds(ref), timeout_s)

    def step(self) -> float | None:
        """One pass; in how many seconds the next one should come."""
        with self._ended:
            self._passes_begun += 1
        try:
            is_agreed = self._look()
            desired = self._catalog.desired()
            changes = self._reconcile(desired)
            if changes or self.generation != desired.generation:
                self.generation = desired.generation
                self._tell(changes)
        finally:
            with self._ended:
                self._passes_ended = self._passes_begun
                self._ended.notify_all()
        return self._advance() if is_agreed else None

    def _wait_for_pass(self, is_done: Callable[[], bool], timeout_s: float) -> None:
        with self._ended:
            # A pass that runs now may have looked too early; the next one will not.
            next_pass = self._passes_begun + 1
            self.nudge()
            self._ended.wait_for(lambda: self._passes_ended >= next_pass or is_done(), timeout_s)

    def _wake(self, *_: object) -> None:
        with self._ended:
            self._ended.notify_all()

    def _look(self) -> bool:
        """Agree with Redis about the desired state; without, the copy on disk has to do."""
        self._catalog.entries(fresh=True)
        try:
            self._catalog.follow(document.agree(self._redis, self._catalog.desired()))
        except redis.RedisError as error:
            logger.debug("desired state from the copy", extra={"cause": repr(error)})
            return False
        except MessageRefused as error:
            # Another version of mlserve wrote it: neither followed nor overwritten.
            self._note_trouble(NOT_UNDERSTOOD, str(error))
            return False
        self._note_trouble(NOT_UNDERSTOOD, "")
        self._write_copy()
        return True

    def _write_copy(self) -> None:
        trouble = ""
        try:
            document.write_copy(self._catalog.root, self._catalog.desired())
        except OSError as error:
            trouble = error.strerror or type(error).__name__
        self._note_trouble(NO_COPY, trouble)

    def _note_trouble(self, what: str, cause: str) -> None:
        if cause and self._troubles.get(what) != cause:
            logger.warning(what, extra={"cause": cause})
        self._troubles[what] = cause

    def _reconcile(self, desired: Desired) -> Changes:
        entries = self._catalog.entries()
        unloaded = {Ref.parse(ref) for ref in desired.unloaded}
        pinned = {Ref.parse(ref) for ref in self.pinned} - unloaded
        wanted = desired.wanted(entries.keys(), self._watch) | (pinned & entries.keys())
        coming = {rollout.id: Ref.parse(rollout.ref) for rollout in desired.rollouts.values()}
        first = [*self._serving(desired), *coming.values()]
        if (default := self._default()) is not None:
            wanted.add(default)
        if not self._is_open:
            wanted &= set(first)
        # Somebody asks for it again: perhaps what failed last time was not its fault.
        self._registry.retry(ref for key, ref in coming.items() if key not in self._tried)
        self._tried = set(coming)
        return self._registry.reconcile(
            {ref: entry for ref, entry in entries.items() if ref in wanted},
            first=first + [Ref(name, version) for name, version in desired.previous.items()],
            missing=wanted - entries.keys(),
            others={ref: entry for ref, entry in entries.items() if ref not in wanted},
        )

    def _serving(self, desired: Desired) -> list[Ref]:
        """The default version, and what every other name stands for."""
        names = {ref.name for ref in self._catalog.entries()} | desired.active.keys()
        found = [self._default(), *map(self._catalog.active, sorted(names))]
        return list(dict.fromkeys(ref for ref in found if ref is not None))

    def _default(self) -> Ref | None:
        try:
            found = self._catalog.resolve()
        except ModelNotFound as error:
            self._note_trouble(NO_DEFAULT, str(error))
            return None
        self._note_trouble(NO_DEFAULT, "")
        return found

    def _tell(self, changes: Changes) -> None:
        if changes.dropped or changes.failed:
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
