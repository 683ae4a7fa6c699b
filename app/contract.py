"""Shared. What the API process and the workers say to each other: names and messages.

Both ends are ours, and may be of different versions while a fleet is upgraded: every message has an
integer version `v`, and unknown fields are refused rather than ignored.
"""

from typing import Any, TypeVar

import msgspec

from app.errors import MessageRefused

VERSION = 1

PREDICT_CHUNK = "mlserve.predict_chunk"
RUN_JOB_CHUNK = "mlserve.run_job_chunk"

# Header of every message of ours: when it was sent, in seconds of the Redis server's clock.
SENT_AT = "sent_at"

DEVICES = ("cpu", "gpu")
PREDICT_QUEUES = {device: f"predict.{device}" for device in DEVICES}
JOB_QUEUES = {device: f"jobs.{device}" for device in DEVICES}

KEY_PREFIX = "mlserve:"
MAILBOX_PREFIX = f"{KEY_PREFIX}mailbox:"
HOST_PREFIX = f"{KEY_PREFIX}host:"
HOSTS_KEY = f"{KEY_PREFIX}hosts"
# How many swaps and loads ended how, and why the last one of a version failed.
ROLLOUT_COUNTS_KEY = f"{KEY_PREFIX}rollouts:counts"
REFUSED_KEY = f"{KEY_PREFIX}rollouts:refused"

M = TypeVar("M", bound="Message")


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of everything that crosses between processes."""

    v: int = VERSION

    def to_message(self) -> dict[str, Any]:
        """JSON types only, ready for any serializer."""
        message: dict[str, Any] = msgspec.to_builtins(self)
        return message

    @classmethod
    def from_message(cls: type[M], message: Any) -> M:
        """Validate a decoded message; `MessageRefused` says what is wrong with it."""
        try:
            received = msgspec.convert(message, cls)
        except ValueError as error:
            raise MessageRefused(str(error)) from error
        if received.v != VERSION:
            raise MessageRefused(f"version {received.v}, this process speaks {VERSION}")
        return received


class Chunk(Message, frozen=True, kw_only=True):
    """Texts for one model version: what one Celery message carries.

    `deadline` is in seconds of the Redis server's clock (see `app.clock`), so that skewed clocks of
    two machines cannot drop good work. `request_ids` are those of all requests in the chunk.
    `deadlines` are those of each text, none where `deadline` is good enough for all.
    """

    ref: str
    texts: list[str]
    deadline: float
    request_ids: list[str]
    deadlines: list[float] = []


EXPIRED_CODE = "expired"


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why one text has no prediction."""

    code: str
    message: str


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The prediction for one text: a probability per label of the model, or why there is none.

    `truncated` tells that the text was longer than the model reads: the rest has no influence.
    """

    probabilities: list[float] | None = None
    error: Failure | None = None
    truncated: bool = False

    @property
    def is_expired(self) -> bool:
        """Whether the deadline passed before the text was computed."""
        return self.error is not None and self.error.code == EXPIRED_CODE


EXPIRED = Outcome(error=Failure(EXPIRED_CODE, "the deadline passed before it was computed"))


class ChunkResult(Message, frozen=True, kw_only=True):
    """Outcomes in the order of the chunk's texts; `labels` names the probabilities.

    `preprocess_s` and `inference_s` are the seconds that the worker spent on the whole chunk;
    `queued_s` how long it had waited for one, None where no worker has had it. `tokens` are those
    of texts that were computed, `padded_tokens` all that were computed for them; neither is there
    (`UNSET` counts as 0: it is false) where texts are not made of tokens.
    """

    ref: str
    labels: list[str]
    outcomes: list[Outcome]
    preprocess_s: float
    inference_s: float
    queued_s: float | None = None
    tokens: int | msgspec.UnsetType = msgspec.UNSET
    padded_tokens: int | msgspec.UnsetType = msgspec.UNSET


class HeldModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version as one host sees it: ready, retiring, or failed with a reason.

    `code` is that of the error which `error` is the sentence of.
    """

    ref: str
    digest: str
    status: str
    error: str | None = None
    code: str | None = None
    memory_bytes: int = 0
    loaded_at: float = 0.0


class Refused(Message, frozen=True, kw_only=True):
    """Why the last swap to a version, or load of it, failed; `at` is in Redis server seconds."""

    reason: str
    code: str | None
    at: float


class HostState(Message, frozen=True, kw_only=True):
    """What a host says of itself with every heartbeat; times are Redis server seconds.

    `generation` is that of the desired state which the host has worked through.
    """

    hostname: str
    pid: int
    device: str
    queues: list[str]
    models: list[HeldModel]
    started_at: float
    beat_at: float
    memory_bytes: int
    chunks: int
    generation: int = 0

    @property
    def incarnation(self) -> str:
        """Names this process and no other, not even the one that takes its place."""
        return incarnation(self.hostname, self.pid, self.started_at)


def incarnation(hostname: str, pid: int, started_at: float) -> str:
    """The name of one worker process among all that ever were."""
    return f"{hostname}#{pid}#{started_at!r}"
