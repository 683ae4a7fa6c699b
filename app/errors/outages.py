"""Shared. Why the service cannot answer now, or not this text."""

from app.errors.base import ServingError, Unavailable


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


class MessageRefused(Unavailable):
    """A message from another version of mlserve could not be understood."""

    code, template = "message_refused", "message refused: {0}"


class NotReady(Unavailable):
    """No prediction can be made yet."""

    code, template = "not_ready", "not ready: {1}"

    @property
    def errors(self) -> dict[str, list[str]]:
        """The reason, by the code of the error that a prediction would meet."""
        return {self.args[0]: [self.args[1]]}


class PredictionTimeout(Unavailable):
    """The prediction was not ready in time."""

    # Milliseconds, the version that was asked for, and the task that goes on with it.
    status, code = 504, "prediction_timeout"
    template = "no prediction within {0} ms"

    @property
    def ref(self) -> str | None:
        """The exact version; None where that was not decided yet."""
        return self.args[1] if len(self.args) > 1 else None

    @property
    def task_id(self) -> str | None:
        """The task that has the prediction when it is ready."""
        return self.args[2] if len(self.args) > 2 else None


class WorkerOutOfMemory(Unavailable):
    """The worker ran out of memory."""

    code = "worker_out_of_memory"


class TextFailed(ServingError):
    """The model could not classify this text."""

    code, template = "text_failed", "the model could not classify this text"


class TaskGivenUp(ServingError):
    """The task was given up: each worker that took it was lost."""

    code, template = "task_given_up", "given up after {0} attempts that ended their worker"
