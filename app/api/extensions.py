"""API process. flask-smorest as this project uses it: one error body, errors that document it."""

import asyncio
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any, TypeVar, cast

import flask_smorest
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from app.api.admin import ADMIN, check_admin
from app.api.gate import BODY_ERRORS, JSON_TYPE, Body
from app.api.hot import GET, HEAD, METHOD, Answered, Call, HotView
from app.api.refusal import count, refusal
from app.api.schemas.problem import PROBLEM_TYPE, Problem, ProblemSchema, example, title
from app.api.scope import HEADER, REQUEST_ID
from app.api.services import services, services_of
from app.api.stream import drain
from app.errors import AdminRefused, ServingError, TokenRefused

View = TypeVar("View", bound=Callable[..., Any])

TEXT = {"type": "string"}
REQUEST_ID_HEADER = {HEADER: {"description": "The caller's, or a new one.", "schema": TEXT}}
RETRY_AFTER_HEADER = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
}
TASK_HEADER = {
    "Location": {"description": "The task that goes on with it, if there is one.", "schema": TEXT}
}
CHALLENGE_HEADER = {"WWW-Authenticate": {"description": "`Bearer`.", "schema": TEXT}}
REQUEST_ID_PARAMETER = {
    "in": "header",
    "name": HEADER,
    "description": "1 to 128 of `A-Za-z0-9._-`: echoed, and in every log line of the request. "
    "Otherwise one is made.",
    "schema": TEXT,
}


class Api(flask_smorest.Api):
    """Answers every error with problem details, and documents views once somebody asks for it.

    To document them takes three times as long as all the rest of an application.
    """

    ERROR_SCHEMA = ProblemSchema
    # Views name their errors with `Blueprint.raises`.
    DEFAULT_ERROR_RESPONSE_NAME = None

    def __init__(self, app: Flask) -> None:
        self._to_document: deque[Callable[[], None]] = deque()
        self._documenting = threading.Lock()
        super().__init__(app)

    def document_later(self, document: Callable[[], None]) -> None:
        """Have `document` called before the document is first answered."""
        self._to_document.append(document)

    def _openapi_json(self) -> Any:
        with self._documenting:
            while self._to_document:
                self._to_document.popleft()()
        return super()._openapi_json()

    def handle_http_exception(self, error: HTTPException) -> Response:
        """404, 405 and whatever else Flask and Werkzeug raise."""
        drain(request.environ)
        problem = Problem.of_status(error.code or 500, error.description or "", _request_id())
        count(services_of(self._app), problem.code)
        allowed = [(name, value) for name, value in error.get_headers() if name == "Allow"]
        headers = problem.headers() + allowed
        return _response(
            Answered(problem.body(), headers, problem.status, content_type=PROBLEM_TYPE)
        )

    def _register_pagination_header(self) -> None:
        """No route has pages: its schema would stand in the document unused."""

    def _register_error_handlers(self) -> None:
        super()._register_error_handlers()
        self._app.register_error_handler(Exception, self._handle_error)

    def _handle_error(self, error: Exception) -> Response:
        drain(request.environ)
        return _response(refusal(services_of(self._app), error, _request_id()))


class Blueprint(flask_smorest.Blueprint):
    """Documents views. `accepts`, `returns` and `raises` add no code to the view itself.

    flask-smorest's own decorators wrap it, which costs the hot routes more than their JSON does.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hot_views: dict[tuple[str, str], HotView] = {}
        self._prepare_doc_cbks.append(self._prepare_body_doc)
        self._prepare_doc_cbks.append(self._prepare_request_id_doc)
        self._prepare_doc_cbks.append(self._prepare_admin_doc)

    def register_views_in_doc(self, api: Api, *given: Any, **options: Any) -> None:
        """What `Api.register_blueprint` calls."""
        document = super().register_views_in_doc
        api.document_later(lambda: document(api, *given, **options))

    def hot(self, *paths: str, method: str = METHOD) -> Callable[[HotView], HotView]:
        """Register a view of these paths, which need not wait for Flask (see `app.api.hot`)."""

        def decorate(view: HotView) -> HotView:
            @wraps(view)
            def through_flask() -> Response:
                has = services()
                return _response(asyncio.run(view(has, Call.of(request.environ, has.gate))))

            for path in paths:
                for each in (GET, HEAD) if method == GET else (method,):
                    self.hot_views[each, path] = view
                self.route(path, methods=[method])(through_flask)
            return view

        return decorate

    def takes(self, content: Mapping[str, tuple[Any, Any]]) -> Callable[[View], View]:
        """The view reads the body by itself: (schema by limits, example) by content type."""

        def decorate(view: View) -> View:
            described: Any = view
            described._apidoc["content"] = content
            return view

        return decorate

    def accepts(self, body: type[Body], example: Any) -> Callable[[View], View]:
        """The view decodes this body with the gate; its limits are those of the settings."""

        def decorate(view: View) -> View:
            described: Any = self.raises(*BODY_ERRORS)(view)
            described._apidoc["content"] = {JSON_TYPE: (body.schema, example)}
            return view

        return decorate

    def returns(
        self,
        schema: Any = None,
        example: Any = None,
        content_type: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> Callable[[View], View]:
        """What a 200 holds; the view returns a `Response`."""
        return _only_documents(
            self.response(
                200,
                schema,
                example=example,
                content_type=content_type,
                headers=REQUEST_ID_HEADER | dict(headers or {}),
            )
        )

    def also(
        self,
        status: int,
        schema: Any,
        example: Any,
        description: str,
        headers: Mapping[str, Any],
    ) -> Callable[[View], View]:
        """Another status that is no error; the view returns a `Response`."""
        return _only_documents(
            self.alt_response(
                status,
                schema=schema,
                description=description,
                example=example,
                headers=REQUEST_ID_HEADER | dict(headers),
                success=True,
            )
        )

    def doc(self, **fields: Any) -> Callable[[View], View]:
        """What is said of a view by hand."""
        return _only_documents(super().doc(**fields))

    def admin(self, view: View) -> View:
        """Only whom `check_admin` lets in gets to this view."""

        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            check_admin(request.environ, services().settings.admin)
            return view(*args, **kwargs)

        described: Any = self.raises(TokenRefused, AdminRefused)(guarded)
        described._apidoc["admin"] = True
        return cast(View, described)

    def reads(self, *parameters: dict[str, Any]) -> Callable[[View], View]:
        """Headers that the view reads by itself."""

        def decorate(view: View) -> View:
            described: Any = view
            described._apidoc["reads"] = parameters
            return view

        return decorate

    def raises(self, *errors: type[ServingError]) -> Callable[[View], View]:
        """Document each error's status from its class."""
        by_status: dict[int, list[type[ServingError]]] = defaultdict(list)
        for error in errors:
            by_status[error.status].append(error)

        def decorate(view: View) -> View:
            for status, group in by_status.items():
                _only_documents(self._error_response(status, group))(view)
            return view

        return decorate

    def _error_response(self, status: int, group: list[type[ServingError]]) -> Any:
        return self.alt_response(
            status,
            schema=ProblemSchema,
            content_type=PROBLEM_TYPE,
            description=" ".join(title(error) for error in group),
            examples={error.code: {"value": example(error)} for error in group},
            headers=REQUEST_ID_HEADER | _error_headers(group),
        )

    @staticmethod
    def _prepare_body_doc(
        doc: dict[str, Any], doc_info: dict[str, Any], *, app: Flask, **_: Any
    ) -> dict[str, Any]:
        if given := doc_info.get("content"):
            limits = services_of(app).settings.limits
            content = {
                kind: {"schema": schema(limits), "example": example}
                for kind, (schema, example) in given.items()
            }
            doc["requestBody"] = {"required": True, "content": content}
        return doc

    @staticmethod
    def _prepare_request_id_doc(
        doc: dict[str, Any], doc_info: dict[str, Any], **_: Any
    ) -> dict[str, Any]:
        read = (REQUEST_ID_PARAMETER, *doc_info.get("reads", ()))
        doc.setdefault("parameters", []).extend(dict(parameter) for parameter in read)
        return doc

    @staticmethod
    def _prepare_admin_doc(
        doc: dict[str, Any], doc_info: dict[str, Any], *, app: Flask, **_: Any
    ) -> dict[str, Any]:
        if doc_info.get("admin"):
            needs_none = services_of(app).settings.admin.token is None
            doc["security"] = [{ADMIN: []}, *([{}] if needs_none else [])]
        return doc


def _only_documents(decorator: Callable[[View], View]) -> Callable[[View], View]:
    def decorate(view: Any) -> Any:
        described: Any = decorator(view)
        view._apidoc = described._apidoc
        return view

    return decorate


def _error_headers(group: list[type[ServingError]]) -> dict[str, Any]:
    """What `Problem.headers` has of these errors; of some only now and then."""
    headers: dict[str, Any] = {}
    if any(error.retry_after_s is not ServingError.retry_after_s for error in group):
        headers |= RETRY_AFTER_HEADER
    if any(error.task_id is not ServingError.task_id for error in group):
        headers |= TASK_HEADER
    if any(error.status == HTTPStatus.UNAUTHORIZED for error in group):
        headers |= CHALLENGE_HEADER
    return headers


def _response(answered: Answered) -> Response:
    kind = answered.content_type
    return Response(answered.body, answered.status, answered.headers, content_type=kind)


def _request_id() -> str:
    return str(request.environ[REQUEST_ID])
