"""Shared. What is wrong with a request: 4xx, the caller's mistake."""

from app.errors.base import BadInput


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


class PredictionNotFound(BadInput):
    """There is no prediction with this id, or it is too old for feedback."""

    status, code = 404, "prediction_not_found"
    template = "no prediction has this id; feedback is taken for {0} s"


class RolloutNotFound(BadInput):
    """There is no swap or load with this id, or it ended too long ago."""

    status, code = 404, "rollout_not_found"
    template = "no rollout {0!r}; one that has ended is remembered for {1} s"


class TokenRefused(BadInput):
    """Routes that change models or list all jobs need the admin token."""

    status, code = 401, "token_refused"
    template = "send 'Authorization: Bearer <admin.token>'"


class AdminRefused(BadInput):
    """Without an admin token, the routes that need one answer only callers on the same machine."""

    status, code = 403, "admin_refused"
    template = (
        "set admin.token to do this from other machines, through a proxy or by a name but localhost"
    )


class SwapInProgress(BadInput):
    """Another swap or load of this model is running."""

    status, code, template = 409, "swap_in_progress", "{0} is being changed to {1}; try again later"


class ModelActive(BadInput):
    """The version is active and cannot be unloaded."""

    status, code, template = 409, "model_active", "{0} is active; swap to another version first"


class NoPreviousVersion(BadInput):
    """There is no version to roll back to."""

    status, code = 409, "no_previous_version"
    template = "no other version of {0} is held to go back to"
