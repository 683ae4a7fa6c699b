"""API process. The one error body: RFC 9457 problem details, and what clients expect besides."""

from http import HTTPStatus

import msgspec
from marshmallow import Schema, fields

from app.errors import ServingError

PROBLEM_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True):
    """An error as clients see it; `error` repeats `detail` for those who look for that name."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    error: str
    errors: dict[str, list[str]] | msgspec.UnsetType = msgspec.UNSET
    task_id: str | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def of(cls, error: ServingError, request_id: str) -> "Problem":
        """What may be told of `error`."""
        detail = str(error)
        return cls(
            type=problem_type(error.code),
            title=title(type(error)),
            status=error.status,
            detail=detail,
            code=error.code,
            request_id=request_id,
            error=detail,
            errors=error.errors or msgspec.UNSET,
            task_id=error.task_id or msgspec.UNSET,
        )

    @classmethod
    def of_status(cls, status: int, detail: str, request_id: str) -> "Problem":
        """What HTTP itself says, where there is no error class of ours."""
        phrase = HTTPStatus(status).phrase
        code = phrase.lower().replace(" ", "_").replace("-", "_")
        kind = problem_type(code)
        return cls(kind, phrase, status, detail, code, request_id, detail)

    def body(self) -> bytes:
        """The JSON document."""
        return msgspec.json.encode(self)

    def headers(self, retry_after_s: int | None = None) -> list[tuple[str, str]]:
        """Those of the answer besides its type and its length."""
        told: list[tuple[str, str]] = []
        if retry_after_s is not None:
            told.append(("Retry-After", str(retry_after_s)))
        if self.status == HTTPStatus.UNAUTHORIZED:
            told.append(("WWW-Authenticate", "Bearer"))
        if self.task_id:
            told.append(("Location", f"/tasks/{self.task_id}"))
        return told


class ProblemSchema(Schema):
    """An error (RFC 9457)."""

    type = fields.String(required=True, metadata={"description": "URN of the kind of problem."})
    title = fields.String(required=True, metadata={"description": "The kind in one sentence."})
    status = fields.Integer(required=True, metadata={"description": "The HTTP status."})
    detail = fields.String(required=True, metadata={"description": "What went wrong this time."})
    code = fields.String(required=True, metadata={"description": "The kind, for programs."})
    request_id = fields.String(
        required=True, metadata={"description": "As in the X-Request-ID header and the logs."}
    )
    error = fields.String(required=True, metadata={"description": "The same as `detail`."})
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "What is wrong with each field, by its dotted path."},
    )
    task_id = fields.String(
        metadata={"description": "Of a prediction that takes longer: the task that goes on."}
    )


def title(error: type[ServingError]) -> str:
    """The public sentence of an error class."""
    return (error.__doc__ or error.code).strip()


def problem_type(code: str) -> str:
    """The `type` member; a name, not an address."""
    return f"urn:mlserve:problem:{code}"


def example(error: type[ServingError]) -> dict[str, object]:
    """The body of `error` for the documentation."""
    sentence = title(error)
    return {
        "type": problem_type(error.code),
        "title": sentence,
        "status": error.status,
        "detail": sentence,
        "code": error.code,
        "request_id": "3f9c1f7e5d0b4a55b6c5a8f0f1a2b3c4",
        "error": sentence,
    }
