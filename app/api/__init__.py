"""API process. The HTTP API: `create_app` and `create_front` put it together and start nothing."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any, cast

from flask import Flask, Request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import MapAdapter

from app.api.admin import ADMIN, ADMIN_SCHEME
from app.api.composition import compose
from app.api.exporter import log_accesses
from app.api.extensions import Api
from app.api.front import Front
from app.api.reading import Patience
from app.api.routes import BLUEPRINTS
from app.api.routes.docs import ASSETS, PAGE
from app.api.routes.docs import blp as docs
from app.api.routes.feedback import blp as feedback
from app.api.routes.metrics import blp as metrics
from app.api.scope import RequestScope
from app.api.services import attach, services_of
from app.inference.gateway import Gateway
from app.settings import Settings
from app.tracing.requests import RequestTracing, trace_requests

DESCRIPTION = (
    "Text classification. Every error has one body, RFC 9457 problem details: `code` says which "
    "kind it is, `errors` what is wrong with each field, `request_id` finds it in the logs."
)
CONFIG: dict[str, Any] = {
    "API_TITLE": "mlserve",
    "API_VERSION": version("mlserve"),
    # The newest that the bundled Swagger UI can show.
    "OPENAPI_VERSION": "3.0.3",
    "OPENAPI_URL_PREFIX": "/",
    "OPENAPI_JSON_PATH": "openapi.json",
    "OPENAPI_SWAGGER_UI_PATH": PAGE,
    "OPENAPI_SWAGGER_UI_URL": ASSETS,
    # Without `validatorUrl` the page would send our address to a public service.
    "OPENAPI_SWAGGER_UI_CONFIG": {"deepLinking": True, "validatorUrl": None},
    "API_SPEC_OPTIONS": {"info": {"description": DESCRIPTION}},
}


class App(Flask):
    """Flask without async views, and strict about slashes and methods."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """`func` itself: Flask would inspect every view and hook again with every request."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """As Flask's, and not found where Werkzeug would take several slashes for the first one.

        Who lets only some paths through to this service, by how they begin, counts on it.
        """
        if request is not None and request.environ["PATH_INFO"].startswith("//"):
            raise NotFound
        adapter = super().create_url_adapter(request)
        # Werkzeug makes capitals of it; methods are case-sensitive (RFC 9110).
        is_other = request is not None and request.environ["REQUEST_METHOD"] != request.method
        if is_other and adapter and (allowed := list(adapter.allowed_methods())):
            raise MethodNotAllowed(allowed)
        return adapter


def create_app(
    settings: Settings, gateway: Gateway | None = None, tracing: RequestTracing | None = None
) -> Flask:
    """The Flask application; `gateway` replaces the real workers, for tests and local use.

    `tracing` has predictions traced; `create_front` makes one where it is enabled.
    """
    app = App("app.api", static_folder=None)
    app.config.update(CONFIG)
    cast(DefaultJSONProvider, app.json).sort_keys = False
    # A redirect to the path as it should be would answer in HTML; such paths are not found.
    app.url_map.merge_slashes = False
    has = compose(app, settings, gateway, tracing)
    attach(app, has)
    api = Api(app)
    api.spec.components.security_scheme(ADMIN, ADMIN_SCHEME)
    there = {metrics: has.exporter is not None, feedback: has.feedback is not None}
    for blueprint in BLUEPRINTS:
        if there.get(blueprint, True):
            api.register_blueprint(blueprint)
    app.register_blueprint(docs)
    log_accesses(app, settings.logging.access)
    app.wsgi_app = RequestScope(app.wsgi_app)  # type: ignore[method-assign]
    return app


def create_front(
    settings: Settings,
    gateway: Gateway | None = None,
    tracing: RequestTracing | None = None,
    patience: Patience | None = None,
) -> Front:
    """The ASGI application: the one above, with the hot views in front of it.

    `patience` is that with bodies that stop coming. Raises `ConfigError` where
    tracing is enabled and OpenTelemetry is not installed.
    """
    if tracing is None and settings.tracing.enabled:
        tracing = trace_requests(settings)
    app = create_app(settings, gateway, tracing)
    # Of those that are there at all.
    there = [blp for blp in BLUEPRINTS if blp.name in app.blueprints]
    views = {at: view for blp in there for at, view in blp.hot_views.items()}
    return Front(app, views, services_of(app), patience or Patience())
