"""API process. Whether predictions can be made, and what is not as it should be, in sentences."""

from typing import Literal

import msgspec

from app.contract import PREDICT_QUEUES
from app.errors import ServingError
from app.fleet import Fleet
from app.inference.service import Predictions
from app.models.base import Ref

CACHE_ALONE = "the shared cache is left out: each process remembers for itself"


class Health(msgspec.Struct, frozen=True):
    """`down` where the default model cannot predict, `degraded` where less works than should."""

    status: Literal["ok", "degraded", "down"]
    reasons: list[str]


def judge(predictions: Predictions) -> Health:
    """By the last look at the fleet; asks nobody."""
    fleet = predictions.fleet()
    try:
        predictions.device(predictions.catalog.get(predictions.catalog.resolve()))
    except ServingError as error:
        return Health("down", [fleet.reason or str(error)])
    reasons = [reason for ref in _active(predictions) for reason in _wanting(ref, fleet)]
    if not predictions.cache.shared_is_available:
        reasons.append(CACHE_ALONE)
    return Health("degraded" if reasons else "ok", reasons)


def _active(predictions: Predictions) -> list[Ref]:
    names = sorted({ref.name for ref in predictions.catalog.entries()})
    return [ref for name in names if (ref := predictions.catalog.active(name)) is not None]


def _wanting(ref: Ref, fleet: Fleet) -> list[str]:
    """Why a version that should be everywhere is not; one that only starts says nothing yet."""
    hosts = [host for host in fleet.hosts if set(host.queues) & set(PREDICT_QUEUES.values())]
    failures = fleet.failures(str(ref))
    if not failures:
        return []
    reason = str(failures[0].error).removeprefix(f"{ref}: ")
    return [f"{ref} failed on {len(failures)} of {len(hosts)} workers: {reason}"]
