"""API process. GET /models/<ref>/drift: does live traffic still look like the training texts?"""

from app.api.extensions import REQUEST_ID_HEADER, Blueprint
from app.api.routes.models import MAX_REF_CHARS
from app.api.schemas.drift import EXAMPLE, DriftSchema
from app.api.services import services
from app.errors import BrokerUnavailable, ModelNotFound, ServingError
from app.monitoring.drift_reports import DriftReport

blp = Blueprint("drift", __name__, description="Live traffic against the training data")


@blp.route("/models/<ref>/drift")
@blp.response(200, DriftSchema, example=EXAMPLE, headers=REQUEST_ID_HEADER)
@blp.raises(ModelNotFound, BrokerUnavailable, ServingError)
def get_drift(ref: str) -> DriftReport:
    """The verdict on the last window of a version's traffic, feature by feature.

    `ref` is anything that `GET /models/<ref>` takes. `insufficient_data` below
    `drift.min_samples` texts, `no_reference` for a version that has none.
    """
    has = services()
    has.predictions.fleet()
    catalog = has.predictions.catalog
    return has.drift.report(catalog.get(catalog.resolve(ref[:MAX_REF_CHARS])))
