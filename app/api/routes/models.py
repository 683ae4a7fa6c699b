"""API process. GET /models: the versions on disk, and who holds them."""

from typing import Any

from app.api.extensions import REQUEST_ID_HEADER, Blueprint
from app.api.inventory import describe
from app.api.schemas.models import ModelSchema, ModelsSchema
from app.api.services import services
from app.errors import ModelNotFound, ServingError

# Longer ones cannot exist, and the answer names what was asked for.
MAX_REF_CHARS = 130

blp = Blueprint("models", __name__, description="Versions on disk and in the workers")


@blp.route("/models")
@blp.response(200, ModelsSchema, headers=REQUEST_ID_HEADER)
@blp.raises(ServingError)
def list_models() -> dict[str, Any]:
    """All versions, sorted."""
    predictions = services().predictions
    catalog, fleet = predictions.catalog, predictions.fleet()
    return {
        "default_model": catalog.default_model,
        "models": [describe(entry, catalog, fleet) for entry in catalog.entries().values()],
    }


@blp.route("/models/<ref>")
@blp.response(200, ModelSchema, headers=REQUEST_ID_HEADER)
@blp.raises(ModelNotFound, ServingError)
def get_model(ref: str) -> dict[str, Any]:
    """One version.

    `ref` is an exact version (`sentiment-v2`), a name (its active version) or a version of the
    default model (`v2`).
    """
    predictions = services().predictions
    catalog, fleet = predictions.catalog, predictions.fleet()
    return describe(catalog.get(catalog.resolve(ref[:MAX_REF_CHARS])), catalog, fleet)
