"""Shared. The root of the errors, and its two large branches."""

# What an extra is installed with, in the directory of the project. With the pinned versions: any
# other torch is gigabytes of CUDA.
INSTALL = "pip install -c constraints.txt -e"


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

    @property
    def task_id(self) -> str | None:
        """The task that goes on with what was asked for; None where nothing goes on."""
        return None


class BadInput(ServingError):
    """The request is not valid."""

    status, code = 400, "bad_input"


class Unavailable(ServingError):
    """The service cannot answer now."""

    status, code = 503, "unavailable"

    @property
    def retry_after_s(self) -> int | None:
        """A short wait: these states mostly end when a process has restarted."""
        return 2
