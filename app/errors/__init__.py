"""Shared. Every failure that a caller can meet, one class each.

    ServingError
    |- BadInput (4xx, the caller's mistake)
    |  |- MalformedBody, UnsupportedMediaType, BodyTooLarge, InvalidFields
    |  |- ModelNotFound, PredictionNotFound, RolloutNotFound
    |  |- JobNotFound, (410) JobGone, JobEmpty, (413) JobTooLarge, JsonTooLarge, WebhookRefused
    |  |- (409) CancelRefused, SubmissionInProgress, (422) IdempotencyKeyReused
    |  |- TaskNotFound, (410) TaskCancelled
    |  |- (401) TokenRefused, (403) AdminRefused
    |  `- (409) SwapInProgress, ModelActive, NoPreviousVersion
    |- Unavailable (503, ours; try again later)
    |  |- NoWorker, Overloaded, BrokerUnavailable, ModelUnavailable, WorkerOutOfMemory, ShuttingDown
    |  |- NotReady, SubmissionLost, MessageRefused, (507) StorageFull
    |  `- (504) PredictionTimeout
    |- ModelError (a version that cannot be loaded)
    |  |- ManifestInvalid, ArtifactMismatch, ArtifactUnsafe, ArtifactInvalid
    |  |- GoldenMismatch, LoadTimedOut, LoadEndedWorker, MemoryLimitReached
    |  `- LibraryMissing, LibraryMismatch, DeviceMissing, VersionExists, VersionMissing, UnsafePath
    |- RolloutFailed (a worker could not hold a version): SwapFailed, LoadFailed
    |- TextFailed (one text of a chunk; its neighbours are answered)
    |  `- TextOutOfMemory, TextGivenUp, TextHung (the last two ended their worker again and again)
    |- JobFailed, JobExpired (a bulk job as a whole)
    |- TaskGivenUp (it ended its worker again and again)
    |- TrainingDataInvalid, ExportRefused
    |- ServiceUnreachable, RequestRefused (the CLI's side of a request)
    |- StartRefused (`mlserve serve` refuses to start)
    |  `- PortTaken, AlreadyServing, RedisServerMissing, RedisNotReady, DefaultModelBroken
    `- ConfigError

A class is its docstring (the public sentence), a status, a code and a template for its positional
arguments. None defines `__init__`: Celery's JSON backend rebuilds an exception as `cls(*args)`, so
an error that is raised with plain positional values survives the way from worker to API.
"""

from app.errors.base import (
    INSTALL,
    BadInput,
    ServingError,
    Unavailable,
)
from app.errors.command_line import (
    AlreadyServing,
    ConfigError,
    DefaultModelBroken,
    PortTaken,
    RedisNotReady,
    RedisServerMissing,
    RequestRefused,
    ServiceUnreachable,
    StartRefused,
)
from app.errors.jobs import (
    TEXT_ERRORS,
    CancelRefused,
    IdempotencyKeyReused,
    JobEmpty,
    JobExpired,
    JobFailed,
    JobGone,
    JobNotFound,
    JobTooLarge,
    JsonTooLarge,
    StorageFull,
    SubmissionInProgress,
    SubmissionLost,
    TaskCancelled,
    TaskNotFound,
    TextGivenUp,
    TextHung,
    TextOutOfMemory,
    WebhookRefused,
)
from app.errors.models import (
    ArtifactInvalid,
    ArtifactMismatch,
    ArtifactUnsafe,
    DeviceMissing,
    ExportRefused,
    GoldenMismatch,
    LibraryMismatch,
    LibraryMissing,
    LoadEndedWorker,
    LoadFailed,
    LoadTimedOut,
    ManifestInvalid,
    MemoryLimitReached,
    ModelError,
    RolloutFailed,
    SwapFailed,
    TrainingDataInvalid,
    UnsafePath,
    VersionExists,
    VersionMissing,
)
from app.errors.outages import (
    BrokerUnavailable,
    MessageRefused,
    ModelUnavailable,
    NotReady,
    NoWorker,
    Overloaded,
    PredictionTimeout,
    ShuttingDown,
    TaskGivenUp,
    TextFailed,
    WorkerOutOfMemory,
)
from app.errors.refusals import (
    AdminRefused,
    BodyTooLarge,
    InvalidFields,
    MalformedBody,
    ModelActive,
    ModelNotFound,
    NoPreviousVersion,
    PredictionNotFound,
    RolloutNotFound,
    SwapInProgress,
    TokenRefused,
    UnsupportedMediaType,
)

__all__ = [
    "INSTALL",
    "TEXT_ERRORS",
    "AdminRefused",
    "AlreadyServing",
    "ArtifactInvalid",
    "ArtifactMismatch",
    "ArtifactUnsafe",
    "BadInput",
    "BodyTooLarge",
    "BrokerUnavailable",
    "CancelRefused",
    "ConfigError",
    "DefaultModelBroken",
    "DeviceMissing",
    "ExportRefused",
    "GoldenMismatch",
    "IdempotencyKeyReused",
    "InvalidFields",
    "JobEmpty",
    "JobExpired",
    "JobFailed",
    "JobGone",
    "JobNotFound",
    "JobTooLarge",
    "JsonTooLarge",
    "LibraryMismatch",
    "LibraryMissing",
    "LoadEndedWorker",
    "LoadFailed",
    "LoadTimedOut",
    "MalformedBody",
    "ManifestInvalid",
    "MemoryLimitReached",
    "MessageRefused",
    "ModelActive",
    "ModelError",
    "ModelNotFound",
    "ModelUnavailable",
    "NoPreviousVersion",
    "NoWorker",
    "NotReady",
    "Overloaded",
    "PortTaken",
    "PredictionNotFound",
    "PredictionTimeout",
    "RedisNotReady",
    "RedisServerMissing",
    "RequestRefused",
    "RolloutFailed",
    "RolloutNotFound",
    "ServiceUnreachable",
    "ServingError",
    "ShuttingDown",
    "StartRefused",
    "StorageFull",
    "SubmissionInProgress",
    "SubmissionLost",
    "SwapFailed",
    "SwapInProgress",
    "TaskCancelled",
    "TaskGivenUp",
    "TaskNotFound",
    "TextFailed",
    "TextGivenUp",
    "TextHung",
    "TextOutOfMemory",
    "TokenRefused",
    "TrainingDataInvalid",
    "Unavailable",
    "UnsafePath",
    "UnsupportedMediaType",
    "VersionExists",
    "VersionMissing",
    "WebhookRefused",
    "WorkerOutOfMemory",
]
