"""API process. GET /models: the versions on disk, and who holds them."""

from typing import Any

from app.api.extensions import REQUEST_ID_HEADER, Blueprint
from app.api.inventory import Inventory
from app.api.schemas.models import ModelSchema, ModelsSchema
from app.api.services import services
from app.errors import ModelNotFound, ServingError
from app.models.catalog import Catalog

# Longer ones cannot exist, and the answer names what was asked for.
MAX_REF_CHARS = 130

blp = Blueprint("models", __name__, description="Versions on disk and in the workers")


@blp.route("/models")
@blp.response(200, ModelsSchema, headers=REQUEST_ID_HEADER)
@blp.raises(ServingError)
def list_models() -> dict[str, Any]:
    """All versions, sorted."""
    catalog, inventory = _look()
    return {
        "default_model": catalog.default_model,
        "models": [inventory.describe(entry) for entry in catalog.entries().values()],
    }


@blp.route("/models/<ref>")
@blp.response(200, ModelSchema, headers=REQUEST_ID_HEADER)
@blp.raises(ModelNotFound, ServingError)
def get_model(ref: str) -> dict[str, Any]:
    """One version.

    `ref` is an exact version (`sentiment-v2`), a name (its active version) or a version of the
    default model (`v2`).
    """
    catalog, inventory = _look()
    return inventory.describe(catalog.get(catalog.resolve(ref[:MAX_REF_CHARS])))


def _look() -> tuple[Catalog, Inventory]:
    has = services()
    catalog, fleet = has.predictions.catalog, has.predictions.fleet()
    return catalog, Inventory(catalog, fleet, has.settings.models.watch)
