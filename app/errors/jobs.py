"""Shared. What can go wrong with a bulk job, as a whole or with one of its texts."""

from app.errors.base import BadInput, ServingError, Unavailable
from app.errors.outages import TextFailed


class JobNotFound(BadInput):
    """There is no job with this id."""

    status, code, template = 404, "job_not_found", "there is no job {0!r}"


class JobGone(BadInput):
    """The job has expired: its texts and results were removed."""

    status, code, template = 410, "job_gone", "job {0} has expired and was removed"


class JobEmpty(BadInput):
    """A job needs at least one text."""

    status, code = 422, "job_empty"


class JobTooLarge(BadInput):
    """The job is larger than the limit."""

    status, code, template = 413, "job_too_large", "a job may have {0} {1} at most"


class WebhookRefused(BadInput):
    """A webhook must be an https address of a host that the service may tell."""

    status, code, template = 422, "webhook_refused", "the webhook is refused: {0}"

    @property
    def errors(self) -> dict[str, list[str]]:
        """The reason, under the name of the field."""
        return {"webhook": [self.args[0]]}


class SubmissionLost(Unavailable):
    """The job was not accepted: what had been received of it is gone."""

    code = "submission_lost"


class StorageFull(Unavailable):
    """Redis has too little free memory for this job."""

    status, code = 507, "storage_full"

    @property
    def retry_after_s(self) -> int:
        """Memory comes back as jobs end and expire, which takes longer than a restart."""
        return 60


class TextOutOfMemory(TextFailed):
    """This text needs more memory than the worker has."""

    code, template = "text_out_of_memory", "this text needs more memory than the worker has"


class TextGivenUp(TextFailed):
    """Each worker that computed this text was lost."""

    code, template = "text_given_up", "each worker that computed this text was lost"


class TextHung(TextFailed):
    """No worker came to an end with this text."""

    code, template = "text_hung", "no worker came to an end with this text in time"


# The class of the error that a text has instead of a prediction, by its code.
TEXT_ERRORS: dict[str, type[TextFailed]] = {
    cls.code: cls for cls in (TextFailed, TextOutOfMemory, TextGivenUp, TextHung)
}


class JobFailed(ServingError):
    """The job could not be carried on."""

    code, template = "job_failed", "{0}"


class JobExpired(ServingError):
    """The job ran out of time."""

    code, template = "job_expired", "the job had not ended after jobs.max_run_seconds"


class JsonTooLarge(BadInput):
    """A job in one JSON document is larger than the limit; as NDJSON it may be larger."""

    status, code = 413, "json_too_large"
    template = "a JSON body may have {0} bytes; send more texts as application/x-ndjson"


class CancelRefused(BadInput):
    """Only a job that is running can be cancelled."""

    status, code, template = 409, "cancel_refused", "job {0} is {1}"


class SubmissionInProgress(BadInput):
    """A job with this Idempotency-Key is being submitted."""

    status, code = 409, "submission_in_progress"

    @property
    def retry_after_s(self) -> int:
        """It may be about to end, or have been left by a process that died."""
        return 2


class IdempotencyKeyReused(BadInput):
    """This Idempotency-Key was used for another job."""

    status, code = 422, "idempotency_key_reused"


class TaskNotFound(BadInput):
    """There is no task with this id, or it has expired."""

    status, code, template = 404, "task_not_found", "there is no task {0!r}"


class TaskCancelled(BadInput):
    """The task was cancelled."""

    status, code = 410, "task_cancelled"
