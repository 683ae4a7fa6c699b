"""API process. A prediction from a caller's point of view: which version, by when, or why not.

The version and the deadline are decided once, here, and travel with the texts. In this order: what
is remembered, admission, texts that are on their way already, the shared cache, a worker.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple

from app.broker import redis_client
from app.contract import JOB_QUEUES, PREDICT_QUEUES, Outcome
from app.errors import (
    BrokerUnavailable,
    ModelUnavailable,
    NoWorker,
    PredictionTimeout,
    ServingError,
)
from app.fleet import Fleet
from app.inference.admission import Admission
from app.inference.alarm import Alarm
from app.inference.answer import Answer
from app.inference.batching import BatchLimits, Coalescer, Hooks
from app.inference.cache import Cache, cache_key
from app.inference.costs import Measure, measure
from app.inference.departures import CallerLeft, Departures, Left
from app.inference.drain import Line
from app.inference.gateway import Gateway
from app.inference.lanes import Flight, Route
from app.inference.slots import Ask, Waiting
from app.inference.timing import Timing
from app.models.base import Manifest, Ref
from app.models.catalog import Catalog, Entry
from app.monitoring.metrics import Metrics
from app.monitoring.stages import Flights
from app.settings import Settings


class Target(NamedTuple):
    """A version that a request may name; `digest` is that of everything that decides an answer.

    `sums_to_one` is false where each label has a probability of its own; `measure` gives the cost
    of a text, None where it is 1.
    """

    entry: Entry
    ref: str
    labels: list[str]
    digest: str
    sums_to_one: bool
    measure: Measure | None

    def costs(self, texts: list[str]) -> list[float]:
        """What each of the texts costs a worker."""
        return [1.0] * len(texts) if self.measure is None else [*map(self.measure, texts)]


class Predictions:
    """Answers texts through a gateway, or says at once that nobody can."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        gateway: Gateway,
        metrics: Metrics | None = None,
    ) -> None:
        self.catalog = catalog
        self._metrics = metrics
        self.cache = Cache(settings.cache, lambda timeout_s: redis_client(settings, timeout_s))
        self.admission = Admission(settings.limits.max_queued_texts)
        self._gateway = gateway
        self._timeout_s = settings.request_timeout_ms / 1000
        limits = BatchLimits(settings.max_batch_size, settings.batch_timeout_ms / 1000)
        hooks = Hooks(self._known, self._landed, self._expired, self._workers)
        if metrics is not None:
            hooks = hooks._replace(observe=Flights(metrics, limits).observe)
        self._coalescer = Coalescer(limits, gateway.submit, gateway.now, hooks)
        self._departures = Departures()
        self._targets: dict[str | Ref | None, Target] = {}
        self._targets_of: object = None
        self._targets_at = -1
        self._followed: object = None
        self._devices: dict[str, str] = {}
        self._devices_of: object = None

    async def predict(
        self,
        texts: list[str],
        model_version: str | None,
        request_id: str,
        wait_s: float | None = None,
        left: Left | None = None,
    ) -> Answer:
        """All texts by the one version that `model_version` names; waits `wait_s` at most.

        Raises `ModelNotFound`; `BrokerUnavailable`, `NoWorker`, `ModelUnavailable` or `Overloaded`
        at once where nobody can answer in time; `PredictionTimeout`; `CallerLeft` where its caller
        has `left` meanwhile: nothing more is computed then. What is remembered is answered whatever
        became of Redis and the workers.
        """
        target = self._target(model_version)
        wait_s = min(wait_s or self._timeout_s, self._timeout_s)
        keys = [cache_key(target.digest, text) for text in texts]
        outcomes = [self.cache.get(key) for key in keys]
        found = [outcome for outcome in outcomes if outcome is not None]
        remembered, joined, timing = len(found), 0, None
        if remembered < len(texts):
            missing = [place for place, outcome in enumerate(outcomes) if outcome is None]
            asked = [(keys[place], texts[place]) for place in missing]
            computed, joined, timing = await self._ask(target, asked, request_id, wait_s, left)
            for place, outcome in zip(missing, computed, strict=True):
                found.insert(place, outcome)
        return Answer(
            ref=target.ref,
            labels=target.labels,
            outcomes=found,
            remembered=remembered,
            joined=joined,
            digest=target.digest,
            wait_s=wait_s,
            timing=timing,
        )

    def fleet(self) -> Fleet:
        """The last look at the workers; `catalog` then goes by what they work towards."""
        fleet = self._gateway.fleet()
        if fleet is not self._followed:
            self.catalog.follow(fleet.desired)
            self._followed = fleet
        return fleet

    def find(self, text: str) -> Ref:
        """The version that `text` names now, as a prediction would have it; `ModelNotFound`."""
        self.fleet()
        return self.catalog.resolve(text)

    def device(self, entry: Entry) -> str:
        """The device whose workers can answer for `entry`; raises as `predict` would."""
        manifest, ref = _manifest(entry), str(entry.ref)
        fleet = self._gateway.fleet()
        if not fleet.reachable:
            raise BrokerUnavailable()
        if fleet is not self._devices_of:
            self._devices, self._devices_of = {}, fleet
        # Another thread may replace the dict at any time; this one stays whole.
        devices = self._devices
        if ref not in devices:
            devices[ref] = _device(manifest, fleet, PREDICT_QUEUES)
        return devices[ref]

    def pin(self, model_version: str | Ref | None) -> tuple[Target, str]:
        """The version that `model_version` names now, and the queue for jobs of its device.

        A `Ref` is that version and no other, whatever models are called. Raises as `predict` would,
        for workers that take jobs.
        """
        target = self._target(model_version)
        fleet = self._gateway.fleet()
        if not fleet.reachable:
            raise BrokerUnavailable()
        manifest = _manifest(target.entry)
        device = _device(manifest, fleet, JOB_QUEUES)
        return target._replace(digest=manifest.untuned_digest), JOB_QUEUES[device]

    def shortest_line(self) -> Line:
        """The shortest of all lines in which texts wait now."""
        return self._coalescer.shortest_line()

    def close(self) -> None:
        """Stop the threads; whoever still waits fails with `ShuttingDown`."""
        self._coalescer.close()
        self._gateway.close()
        self.cache.close()

    def _target(self, model_version: str | Ref | None) -> Target:
        self.fleet()
        entries, generation = self.catalog.entries(), self.catalog.generation
        if entries is not self._targets_of or generation != self._targets_at:
            self._targets, self._targets_of, self._targets_at = {}, entries, generation
        # Another thread may replace the dict at any time; this one stays whole.
        targets = self._targets
        target = targets.get(model_version)
        if target is None:
            if isinstance(model_version, Ref):
                entry = self.catalog.get(model_version)
            else:
                entry = self.catalog.get(self.catalog.resolve(model_version))
            manifest = _manifest(entry)
            known = manifest.labels, manifest.digest, manifest.sums_to_one
            target = Target(entry, str(entry.ref), *known, measure(manifest))
            targets[model_version] = target
        return target

    async def _ask(
        self,
        target: Target,
        asked: list[tuple[bytes, str]],
        request_id: str,
        wait_s: float,
        left: Left | None,
    ) -> tuple[list[Outcome], int, Timing | None]:
        route = Route(target.ref, self.device(target.entry))
        queued_chunks = self._gateway.fleet().queues.get(PREDICT_QUEUES[route.device], 0)
        costs = target.costs([text for _, text in asked])
        line = self._coalescer.line(route, sum(costs))
        self.admission.enter(len(asked), wait_s, line, queued_chunks)
        try:
            alarm = Alarm()
            waiting = Waiting(len(asked), alarm)
            deadline = self._gateway.now() + wait_s
            asks = [
                Ask(key, text, waiting, place, deadline, request_id, costs[place])
                for place, (key, text) in enumerate(asked)
            ]
            asked_at = time.monotonic()
            joined = self._coalescer.put(route, asks)
            try:
                await self._departures.unless_left(alarm.wait(wait_s), left)
                outcomes, trip = waiting.result(), waiting.trip
            except (TimeoutError, asyncio.CancelledError, CallerLeft, ServingError):
                self._coalescer.leave(route, [ask.key for ask in asks], waiting)
                raise
            return outcomes, joined, None if trip is None else Timing.of(asked_at, trip)
        except TimeoutError:
            raise PredictionTimeout(round(wait_s * 1000), target.ref) from None
        finally:
            self.admission.leave(len(asked))

    def _known(self, flight: Flight) -> dict[bytes, Outcome]:
        try:
            target = self._target(Ref.parse(flight.route.ref))
        except ServingError:
            # Its texts were let in, and workers go on with what has left the disk meanwhile.
            return {}
        keys = [slot.key for slot in flight.slots]
        return self.cache.fetch(keys, len(target.labels), target.sums_to_one)

    def _expired(self, stage: str, texts: int) -> None:
        if self._metrics is not None:
            self._metrics.expired.labels(stage).inc(texts)

    def _workers(self, route: Route) -> int:
        queue = PREDICT_QUEUES[route.device]
        return len(self._gateway.fleet().holders(route.ref, queue))

    def _landed(self, outcomes: list[tuple[bytes, Outcome]]) -> None:
        self.admission.landed(len(outcomes))
        self.cache.keep(outcomes)


def _manifest(entry: Entry) -> Manifest:
    if entry.manifest is None:
        raise ModelUnavailable(str(entry.ref), str(entry.error))
    return entry.manifest


def _device(manifest: Manifest, fleet: Fleet, queues: Mapping[str, str]) -> str:
    ref = str(manifest.ref)
    devices = {"auto": ("gpu", "cpu")}.get(manifest.device, (manifest.device,))
    for device in devices:
        if fleet.holders(ref, queues[device]):
            return device
    for failure in fleet.failures(ref):
        raise ModelUnavailable(ref, failure.error)
    raise NoWorker(ref)
