"""API process. Feedback as a caller sees it: ids of predictions, true labels, and what they say.

All but `ids` raise `BrokerUnavailable` where Redis cannot be reached.
"""

import asyncio
import itertools
import os
from collections.abc import Callable
from typing import NamedTuple

from app.broker import broker_errors, redis_client
from app.errors import (
    BrokerUnavailable,
    InvalidFields,
    ModelError,
    ModelNotFound,
    ModelUnavailable,
    PredictionNotFound,
)
from app.inference.answer import Answer
from app.jobs.records import Job, Row
from app.models import reference
from app.models.base import Manifest, Ref
from app.models.catalog import Catalog
from app.monitoring.feedback.counts import FeedbackCounts
from app.monitoring.feedback.ids import Predicted, Signer, mark_of, number_of, shares_of
from app.monitoring.feedback.quality import Performance, performance
from app.settings import Settings

NUMBERS = 1 << 64
# Of those that Redis held before it was emptied.
MAX_SIGNERS = 4
MAX_SHOWN_LABELS = 50


class Given(NamedTuple):
    """Feedback that counts: which version said what, the true label, and whether that was new."""

    ref: str
    predicted: str
    label: str
    outcome: str


class Feedback:
    """The feedback on one service; `now` is in Redis server seconds. Safe for several threads."""

    def __init__(self, settings: Settings, catalog: Catalog, now: Callable[[], float]) -> None:
        self._limits, self._catalog, self._now = settings.monitoring, catalog, now
        self._redis = redis_client(settings)
        window_s = self._limits.feedback_window_seconds
        self.counts = FeedbackCounts(self._redis, self._limits.feedback_ttl_seconds, window_s)
        secret = self._limits.feedback_secret
        # The newest first.
        self._secrets: tuple[bytes, ...] = (secret.encode(),) if secret else ()
        self._signers = tuple(map(Signer, self._secrets))
        self._numbers = itertools.count(int.from_bytes(os.urandom(8)))

    async def ids(self, answer: Answer) -> list[str | None]:
        """An id for each outcome; None where there is no prediction.

        All are None while the secret cannot be had, because Redis was never reached: no prediction
        fails for want of an id.
        """
        try:
            signer = self._signers[0] if self._signers else await asyncio.to_thread(self._signer)
            at = int(self._now())
        except BrokerUnavailable:
            return [None] * len(answer.outcomes)
        mark, found = mark_of(answer.digest), list[str | None]()
        for outcome in answer.outcomes:
            if (probabilities := outcome.probabilities) is None:
                found.append(None)
                continue
            label = probabilities.index(max(probabilities))
            number, shares = next(self._numbers) % NUMBERS, shares_of(probabilities, label)
            found.append(signer.make(Predicted(answer.ref, mark, at, number, label, shares)))
        return found

    def ids_of(self, job: Job) -> Callable[[Row], str | None]:
        """What gives each row of a job its id: the same whenever it is read.

        It is as old as the job; None where there is no prediction.
        """
        signer, spec, at = self._signer(), job.spec, int(job.created_at)
        mark = mark_of(spec.digest)
        numbers = {label: number for number, label in enumerate(spec.labels)}

        def id_of(row: Row) -> str | None:
            if row.label is None or row.confidence is None:
                return None
            label, number = numbers[row.label], number_of(job.id, row.index)
            shares = shares_of(row.scores, label) if row.scores else shares_of([row.confidence], 0)
            return signer.make(Predicted(spec.ref, mark, at, number, label, shares))

        return id_of

    def give(self, prediction_id: str, label: str) -> Given:
        """Count that `label` is the true one; `PredictionNotFound`, or `InvalidFields`."""
        said = self._read(prediction_id)
        labels = self._manifest_of(said).labels
        if label not in labels:
            shown = ", ".join(labels[:MAX_SHOWN_LABELS])
            more = ", ..." if len(labels) > MAX_SHOWN_LABELS else ""
            raise InvalidFields({"label": [f"Must be a label of {said.ref}: {shown}{more}."]})
        kept = b"" if self._limits.feedback_secret else self._secrets[0]
        with broker_errors():
            recorded = self.counts.record(said, labels.index(label), self._now(), kept)
        if kept and recorded.secret != kept:
            self._adopt(recorded.secret)
        return Given(said.ref, labels[said.label], label, recorded.outcome)

    def performance(self, ref: Ref) -> Performance:
        """How good a version is by its feedback; `ModelNotFound` or `ModelUnavailable`."""
        entry = self._catalog.get(ref)
        if (manifest := entry.manifest) is None:
            raise ModelUnavailable(str(ref), str(entry.error))
        with broker_errors():
            (recent,) = self.counts.windows([manifest], self._now())
            everything = self.counts.all(manifest)
        live = [(self._limits.feedback_window_seconds, recent), (None, everything)]
        trained = reference.quality(entry.path, manifest)
        return performance(str(ref), live, trained, self._limits.feedback_min_texts)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _read(self, prediction_id: str) -> Predicted:
        self._signer()
        said = self._understood(prediction_id)
        if said is None and not self._limits.feedback_secret:
            # Made by a process that has another secret, since Redis was emptied?
            with broker_errors():
                self._adopt(self.counts.secret())
            said = self._understood(prediction_id)
        if said is None or self._now() - said.at > self._limits.feedback_ttl_seconds:
            raise PredictionNotFound(self._limits.feedback_ttl_seconds)
        return said

    def _understood(self, prediction_id: str) -> Predicted | None:
        found = (signer.read(prediction_id) for signer in self._signers)
        return next((said for said in found if said is not None), None)

    def _manifest_of(self, said: Predicted) -> Manifest:
        try:
            manifest = self._catalog.get(Ref.parse(said.ref)).manifest
        except (ModelNotFound, ModelError):
            manifest = None
        if manifest is None or mark_of(manifest.digest) != said.mark:
            raise PredictionNotFound(self._limits.feedback_ttl_seconds)
        return manifest

    def _signer(self) -> Signer:
        if not self._signers:
            with broker_errors():
                self._adopt(self.counts.secret())
        return self._signers[0]

    def _adopt(self, secret: bytes) -> None:
        others = tuple(known for known in self._secrets if known != secret)
        self._secrets = (secret, *others)[:MAX_SIGNERS]
        self._signers = tuple(map(Signer, self._secrets))
