"""Shared. The words of a job: what is asked for, how far it is, and one line of its results."""

import re
from typing import Annotated, Literal

import msgspec

from app.contract import Failure, Message

Status = Literal[
    "validating", "in_progress", "completed", "failed", "expired", "cancelling", "cancelled"
]
ENDED: tuple[Status, ...] = ("completed", "failed", "expired", "cancelled")

MAX_METADATA = 16
MAX_METADATA_KEY_CHARS = 64
MAX_METADATA_VALUE_CHARS = 512
MAX_CUSTOM_ID_CHARS = 128

MetadataKey = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_METADATA_KEY_CHARS)]
MetadataValue = Annotated[str, msgspec.Meta(max_length=MAX_METADATA_VALUE_CHARS)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], msgspec.Meta(max_length=MAX_METADATA)]

# As Celery makes them: the id of a job is also that of a Celery task.
JOB_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

CANCELLED = Failure("cancelled", "the job was cancelled before this text was computed")


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The request of a caller who does not wait for the answer.

    `is_batch` tells /batch-predict from /predict; `top_k` is that of the request.
    """

    is_batch: bool
    top_k: int | None = None


class JobSpec(Message, frozen=True, kw_only=True):
    """What a job is to do, fixed when it is submitted.

    `ref` and `digest` pin the version, `labels` are those of its manifest in their order, `queue`
    is that of its device. `webhook` is an address that is told when the job has ended. With a
    `question` it is a task: a prediction that is asked for by its id, and in no list of jobs.
    `with_scores` keeps the probabilities of all labels with the results, for feedback on them.
    """

    ref: str
    digest: str
    labels: list[str]
    queue: str
    metadata: Metadata = msgspec.field(default_factory=dict)
    webhook: str | None = None
    question: Question | None = None
    with_scores: bool = False


class Counts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many texts of a job are where; `total` is the sum of all others."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def pending(self) -> int:
        """Texts that have no result yet."""
        return self.total - self.ended

    @property
    def ended(self) -> int:
        """Texts that have a result, whatever it is."""
        return self.succeeded + self.failed + self.cancelled


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a job; times are Redis server seconds.

    `submitted_at` is when it was accepted, `started_at` when its first chunk was taken by a worker.
    `expires_at` is when everything about it will be removed. `error` says why it failed or expired.
    """

    id: str
    spec: JobSpec
    status: Status
    counts: Counts
    created_at: float
    expires_at: float
    submitted_at: float | None = None
    started_at: float | None = None
    cancelling_at: float | None = None
    ended_at: float | None = None
    error: Failure | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.status in ENDED

    def texts_per_s(self, now: float) -> float | None:
        """Texts with a result for each second since it was started; None before there are any."""
        done = self.counts.succeeded + self.counts.failed
        if self.started_at is None or not done:
            return None
        return done / max((self.ended_at or now) - self.started_at, 1e-3)

    def eta_s(self, now: float) -> float | None:
        """Seconds until it will probably have ended; None where that cannot be said."""
        rate = self.texts_per_s(now)
        if self.has_ended:
            return 0.0
        return None if rate is None else self.counts.pending / rate


class Page(msgspec.Struct, frozen=True):
    """Some jobs, the newest first; `next_before` asks for those after them, None at the end."""

    jobs: list[Job]
    next_before: str | None


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of results: a label and its probability, or why there is none.

    `scores` has a probability for each label of the model, where they are kept. `truncated` tells
    that the text was longer than the model reads. `prediction_id` is what feedback on it is given
    by, where that is on.
    """

    index: int
    custom_id: str | None = None
    label: str | None = None
    confidence: float | None = None
    error: Failure | None = None
    scores: list[float] | None = None
    truncated: bool = False
    prediction_id: str | None = None


class Claim(msgspec.Struct, frozen=True):
    """A chunk that its caller is to compute: `count` texts from number `first` on.

    `attempt` counts how often it was begun, this time included.
    """

    job_id: str
    first: int
    count: int
    attempt: int
    spec: JobSpec


class Ticket(msgspec.Struct, frozen=True):
    """A chunk that is to be sent to a queue: all that its message says."""

    job_id: str
    first: int
    queue: str
