"""API process. GET /models/<ref>/drift: does live traffic still look like the training texts?"""

import msgspec

from app.api.extensions import REQUEST_ID_HEADER, Blueprint
from app.api.routes.models import MAX_REF_CHARS
from app.api.schemas.drift import EXAMPLE, DriftSchema
from app.api.services import services
from app.errors import BrokerUnavailable, ModelNotFound, ServingError
from app.monitoring.drift.reports import DriftReport

blp = Blueprint("drift", __name__, description="Live traffic against the training data")


@blp.route("/models/<ref>/drift")
@blp.response(200, DriftSchema, example=EXAMPLE, headers=REQUEST_ID_HEADER)
@blp.raises(ModelNotFound, BrokerUnavailable, ServingError)
def get_drift(ref: str) -> DriftReport:
    """The verdict on the last window of a version's traffic, feature by feature.

    `ref` is anything that `GET /models/<ref>` takes. `insufficient_data` below
    `drift.min_samples` texts, `no_reference` for a version that has none. `performance` is that
    of `GET /models/<ref>/performance`, with a verdict of its own.
    """
    has = services()
    found = has.predictions.find(ref[:MAX_REF_CHARS])
    entry = has.predictions.catalog.get(found)
    report = has.drift.report(entry)
    # A version whose manifest is wrong has neither.
    if has.feedback is None or entry.manifest is None:
        return report
    return msgspec.structs.replace(report, performance=has.feedback.performance(found))
