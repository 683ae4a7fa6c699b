"""Shared. Why a version cannot be loaded, trained or brought to the workers."""

from app.errors.base import INSTALL, ServingError


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


class LoadEndedWorker(ModelError):
    """Loading the model ended the process of the worker again and again."""

    code = "load_ended_worker"
    template = (
        "{0}: loading it ended its worker {1} times in a row; it is tried again after {2} UTC"
    )


class MemoryLimitReached(ModelError):
    """The model does not fit into the memory that a worker may use."""

    code = "memory_limit_reached"
    template = "{0} needs a process of {1} MB; worker.max_memory_mb is {2}"


class LibraryMissing(ModelError):
    """A library that the model needs is not installed."""

    code, template = "library_missing", f"{{0}} is not installed; {INSTALL} '.[{{1}}]'"


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


class RolloutFailed(ServingError):
    """A worker could not hold the version."""

    status, code, template = 424, "rollout_failed", "{0}: {1}"

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


class ExportRefused(ServingError):
    """The version cannot be written in the other format."""

    status, code, template = 422, "export_refused", "{0}: {1}"


class TrainingDataInvalid(ServingError):
    """The training data cannot be used."""

    status, code, template = 422, "training_data_invalid", "{0}: {1}"
