"""Worker process. Computes the chunks of jobs, and keeps the jobs going.

A chunk is claimed, computed in large batches and committed. One that was lost before is computed
text by text, each text marked before it is begun: so what ends workers is found out.
"""

import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial

import redis
from celery import Celery
from celery.worker import state as worker_state
from kombu.exceptions import OperationalError

from app.contract import Chunk, Outcome
from app.dispatch import Dispatcher
from app.errors import MessageRefused, ModelUnavailable
from app.inference import engine
from app.jobs.blobs import encode_results
from app.jobs.chunks import FIRST_CHUNK_TEXTS, HUNG, Chunks, patience_s
from app.jobs.ledger import Ledger
from app.jobs.records import ENDED, Claim, Job
from app.jobs.sweeper import SWEEP_S, Sweeper
from app.loop import Loop
from app.models.loader import LoadedModel
from app.monitoring.stages import JOB
from tasks.host import Host
from tasks.job_events import Dispatcher as EventDispatcher
from tasks.job_events import JobEvents
from tasks.job_states import JobStates
from tasks.job_windows import Windows
from tasks.retries import Retries
from tasks.webhooks import Webhooks

logger = logging.getLogger(__name__)

# Beyond worker.hard_limit_s, after which the watchdog ends the process.
LEASE_MARGIN_S = 5.0
# A chunk that takes so many times what one should is done as far as it got; the rest is sent again.
OVERTIME = 2
MODEL_WAIT_S = 2.0
# So long a worker that cannot hold the version of a chunk leaves the next one to others.
STAND_BACK_S = 2.0
# Either takes such a share of worker.hard_limit_s at most, and so do all waits of a chunk for a
# Redis that restarts: half of it is left for its texts.
WAIT_SHARE = 0.25
JOIN_S = 2.0


class ChunkLost(Exception):
    """Somebody else has the chunk now: go no further."""


class JobRunner:
    """The part of a host that computes jobs; `start` and `stop` are those of its sweeper.

    `events` is where the worker sends its events at this moment, if anywhere.
    """

    def __init__(
        self, host: Host, celery: Celery, events: Callable[[], EventDispatcher | None]
    ) -> None:
        self._host, self._limits = host, host.settings.jobs
        ledger = Ledger(host.redis, self._limits, host.now)
        self._chunks = Chunks(ledger, patience_s(host.settings.models))
        self._dispatcher = Dispatcher(celery, self._chunks)
        self._states, self._events = JobStates(celery, ledger), JobEvents(events)
        self._webhooks = Webhooks(host.settings, host.redis, host.now, metrics=host.metrics)
        self._sweeper = Sweeper(
            self._chunks,
            pump=self._dispatcher.pump,
            tell=self._tell,
            is_revoked=lambda job_id: job_id in worker_state.revoked,
        )
        self._sweeping = Loop("jobs", self._sweep, SWEEP_S)
        hard_limit_s = host.settings.worker.hard_limit_s
        self._lease_s = hard_limit_s + LEASE_MARGIN_S
        self._max_wait_s = WAIT_SHARE * hard_limit_s
        self._leaving = threading.Event()
        self._windows = Windows(host.settings)
        self._running: list[Claim] = []
        # What could not be given up because Redis was away.
        self._dropped: list[Claim] = []
        # Jobs that ended here, and nobody was told of yet.
        self._ended: list[str] = []

    def start(self) -> None:
        """Look after the jobs from now on."""
        self._sweeping.start()
        self._webhooks.start()

    def leave(self) -> None:
        """The worker is about to stop: wait for nothing any more; returns at once."""
        self._leaving.set()

    def stop(self) -> None:
        """Leave the jobs to other workers."""
        self._sweeping.stop()
        self._sweeping.join(JOIN_S)
        self._webhooks.stop()

    def run(self, job_id: str, first: int) -> None:
        """Compute one chunk and send what comes next; nothing where it is not to be computed.

        Raises `BrokerUnavailable` where Redis is away for longer than it takes to restart.
        """
        # Redis may have done what it did not answer in time.
        holder, token = self._host.incarnation, uuid.uuid4().hex
        retries = Retries(self._max_wait_s)
        asked = partial(self._chunks.claim, job_id, first, holder, self._lease_s, token)
        try:
            claim = retries.make(asked)
        except MessageRefused as error:
            logger.warning("chunk released", extra={"cause": str(error)})
            self._stand_back()
            return
        if claim is None:
            return
        self._running.append(claim)
        try:
            self._answer(claim, holder, retries)
        except ChunkLost:
            pass
        except BaseException:
            self._dropped.append(claim)
            self._sweeping.nudge()
            raise
        finally:
            self._running.remove(claim)

    def blame_running(self) -> None:
        """This process is about to be ended, because what it computes does not come to an end."""
        for claim in list(self._running):
            self._chunks.give_up(claim, self._host.incarnation, HUNG)

    def _answer(self, claim: Claim, holder: str, retries: Retries) -> None:
        try:
            model = self._model(claim)
        except ModelUnavailable as error:
            logger.warning("chunk released", extra={"ref": claim.spec.ref, "cause": str(error)})
            retries.make(partial(self._chunks.release, claim, holder, 0.0, str(error)))
            self._stand_back()
            return
        texts = retries.make(partial(self._chunks.texts, claim))
        if len(texts) != claim.count:
            return  # the job has ended
        started = time.perf_counter()
        outcomes = self._compute(model, claim, texts, holder)
        took_s = time.perf_counter() - started
        claim = self._shortened(claim, holder, len(outcomes), retries)
        self._commit(claim, outcomes, took_s, retries)

    def _stand_back(self) -> None:
        # Unacknowledged meanwhile: it would come to this worker again, and so would all the others.
        self._leaving.wait(min(STAND_BACK_S, self._max_wait_s))

    def _model(self, claim: Claim) -> LoadedModel:
        # The sweeper may not have seen this job yet.
        self._host.reconciler.pinned = {*self._host.reconciler.pinned, claim.spec.ref}
        model = self._host.model(claim.spec.ref, min(MODEL_WAIT_S, self._max_wait_s))
        if model.manifest.untuned_digest != claim.spec.digest:
            raise ModelUnavailable(claim.spec.ref, "this worker holds another artifact of it")
        return model

    def _compute(
        self, model: LoadedModel, claim: Claim, texts: list[str], holder: str
    ) -> list[Outcome]:
        """Outcomes of the chunk, or of as many of its first texts as there is time for.

        Texts may be slower than those that the size of the chunk was learned from: no chunk comes
        near the time after which the watchdog ends the process.
        """
        began = time.perf_counter()
        until = began + OVERTIME * self._windows.max_s
        outcomes: list[Outcome] = []
        while (at := len(outcomes)) < len(texts) and began < until:
            if claim.attempt > 1:
                self._mark(claim, holder, claim.first + at)
                outcomes += self._predict(model, texts[at : at + 1])
            else:
                together = texts[at : at + self._windows.fitting(model, texts[at:])]
                outcomes += self._predict(model, together)
                self._windows.took(model, together, time.perf_counter() - began)
            began = time.perf_counter()
        return outcomes

    def _predict(self, model: LoadedModel, texts: list[str]) -> list[Outcome]:
        chunk = Chunk(ref=model.ref, texts=texts, deadline=math.inf, request_ids=[])
        size = self._limits.max_batch_size
        traffic = self._host.traffic
        result = engine.predict(
            model, chunk, max_batch_size=size, now=self._host.now, traffic=traffic
        )
        if self._host.counts is not None:
            self._host.counts.computed(result, JOB)
        return result.outcomes

    def _mark(self, claim: Claim, holder: str, index: int) -> None:
        if not self._chunks.mark(claim, holder, index, self._lease_s):
            raise ChunkLost

    def _shortened(self, claim: Claim, holder: str, count: int, retries: Retries) -> Claim:
        if count == claim.count:
            return claim
        shorter = retries.make(partial(self._chunks.shorten, claim, holder, count))
        if shorter is None:
            raise ChunkLost
        return shorter

    def _commit(
        self, claim: Claim, outcomes: Sequence[Outcome], took_s: float, retries: Retries
    ) -> None:
        truncated = [at for at, outcome in enumerate(outcomes) if outcome.truncated]
        failures = {at: o.error for at, o in enumerate(outcomes) if o.error is not None}
        best = [max(outcome.probabilities or [0.0]) for outcome in outcomes]
        labels = [
            (outcome.probabilities or [0.0]).index(highest)
            for outcome, highest in zip(outcomes, best, strict=True)
        ]
        # A few texts that were soon done say little about how many fit into a chunk.
        is_short = claim.count < FIRST_CHUNK_TEXTS and took_s < self._limits.target_chunk_seconds
        tells = claim.attempt == 1 and not is_short
        status = retries.make(
            partial(
                self._chunks.commit,
                claim,
                encode_results(labels, best, failures, _scores(claim, outcomes), truncated),
                succeeded=len(outcomes) - len(failures),
                failed=len(failures),
                texts_per_s=len(outcomes) / took_s if tells else None,
            )
        )
        self._host.count_chunk()
        if status is not None and self._host.counts is not None:
            self._host.counts.committed(claim.spec.ref, claim.spec.labels, outcomes)
        if status in ENDED:
            self._ended.append(claim.job_id)
            self._sweeping.nudge()
        else:
            self._pump(claim)

    def _pump(self, claim: Claim) -> None:
        try:
            self._dispatcher.pump(claim.job_id, claim.spec)
        except (redis.RedisError, OperationalError) as error:
            # The sweeper will.
            logger.debug("not sent yet", extra={"cause": repr(error)})

    def _tell(self, job: Job, before: Job | None) -> None:
        self._webhooks.tell(job)
        state, result = self._states.tell(job)
        self._events.tell(job, before, state, result)

    def _sweep(self) -> None:
        while self._dropped:
            self._chunks.give_up(self._dropped[0], self._host.incarnation)
            del self._dropped[0]
        while self._ended:
            self._sweeper.report(self._ended[0])
            del self._ended[0]
        try:
            self._sweeper.step()
        finally:
            # What went wrong with one job is nothing to the versions of all.
            self._host.reconciler.pinned = self._sweeper.pinned


def _scores(claim: Claim, outcomes: Sequence[Outcome]) -> list[float]:
    question, nothing = claim.spec.question, [0.0] * len(claim.spec.labels)
    is_asked = question is not None and question.top_k is not None
    if not (is_asked or claim.spec.with_scores):
        return []
    return [score for outcome in outcomes for score in outcome.probabilities or nothing]
