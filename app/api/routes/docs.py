"""API process. The docs page's files, from the swagger_ui_bundle package: no CDN is asked."""

from flask import Blueprint, Response, abort, redirect, send_from_directory
from swagger_ui_bundle import swagger_ui_path
from werkzeug.wrappers import Response as BaseResponse

PAGE = "/docs"
ASSETS = "/docs/assets/"
# What flask-smorest's page loads.
FILES = frozenset({"swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js"})
MAX_AGE_S = 86_400

blp = Blueprint("docs", __name__)


@blp.get("/")
def root() -> BaseResponse:
    """To the docs page."""
    return redirect(PAGE)


@blp.get("/favicon.ico")
def favicon() -> Response:
    """What every browser asks for."""
    return send_from_directory(str(swagger_ui_path), "favicon-32x32.png", max_age=MAX_AGE_S)


@blp.get(f"{ASSETS}<name>")
def asset(name: str) -> Response:
    """A file of Swagger UI."""
    if name not in FILES:
        abort(404)
    return send_from_directory(str(swagger_ui_path), name, max_age=MAX_AGE_S)
