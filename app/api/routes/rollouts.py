"""API process. What changes models: swap, roll back, load, unload; and how far a change is."""

from flask import request

from app.api import prefer
from app.api.extensions import REQUEST_ID_HEADER, RETRY_AFTER_HEADER, TEXT, Blueprint, View
from app.api.gate import B
from app.api.routes.common import ASK_AGAIN_S, MAX_ID_CHARS, Answer
from app.api.routes.models import MAX_REF_CHARS
from app.api.schemas.rollouts import EXAMPLE, LoadBody, RolloutSchema, SwapBody
from app.api.services import services
from app.errors import (
    BrokerUnavailable,
    LoadFailed,
    ManifestInvalid,
    MessageRefused,
    ModelActive,
    ModelNotFound,
    NoPreviousVersion,
    NoWorker,
    RolloutNotFound,
    ServingError,
    SwapFailed,
    SwapInProgress,
    UnsafePath,
)
from app.inference.rollouts import describe
from app.models.base import Ref

CANNOT_BEGIN = (
    *(ModelNotFound, SwapInProgress, ManifestInvalid, UnsafePath),
    *(NoWorker, BrokerUnavailable, MessageRefused, ServingError),
)
CANNOT_UNLOAD = (
    *(ModelNotFound, ModelActive, SwapInProgress),
    *(BrokerUnavailable, MessageRefused, ServingError),
)

blp = Blueprint("rollouts", __name__, description="Change which versions serve")

ACCEPTED_HEADERS = {
    "Location": {"description": "Where to ask how far it is.", "schema": TEXT},
    **RETRY_AFTER_HEADER,
    **prefer.APPLIED,
}


def answers(view: View) -> View:
    """A rollout that is done, or one that is on its way."""
    headers = REQUEST_ID_HEADER | prefer.APPLIED
    changed: View = blp.response(200, RolloutSchema, example=EXAMPLE, headers=headers)(view)
    described = blp.also(
        202,
        RolloutSchema,
        example=EXAMPLE | {"state": "preparing", "activated": False, "ended_at": None},
        description="It goes on, and nobody needs to wait for it.",
        headers=ACCEPTED_HEADERS,
    )(changed)
    return blp.reads(prefer.ASYNC_PARAMETER)(described)


@blp.route("/models/<name>/swap", methods=["POST"])
@blp.accepts(SwapBody, example={"version": "v1"})
@answers
@blp.raises(*CANNOT_BEGIN, SwapFailed)
@blp.admin
def swap(name: str) -> Answer:
    """Make a version the active one, once every live worker holds it.

    Where one cannot, nothing changes and `errors` has each worker's reason. The version that was
    active stays loaded, for a rollback.
    """
    body = _body(SwapBody)
    return _answer(services().rollouts.swap(Ref(name[:MAX_REF_CHARS], body.version)))


@blp.route("/models/<name>/rollback", methods=["POST"])
@answers
@blp.raises(*CANNOT_BEGIN, NoPreviousVersion, SwapFailed)
@blp.admin
def roll_back(name: str) -> Answer:
    """Swap to the version that was active before. Needs no body."""
    return _answer(services().rollouts.roll_back(name[:MAX_REF_CHARS]))


@blp.route("/models/load", methods=["POST"])
@blp.accepts(LoadBody, example={"model_version": "sentiment-v3"})
@answers
@blp.raises(*CANNOT_BEGIN, LoadFailed)
@blp.admin
def load() -> Answer:
    """Have every live worker hold a version that is on disk; what is active stays."""
    rollouts = services().rollouts
    return _answer(rollouts.load(rollouts.find(_body(LoadBody).model_version)))


@blp.route("/models/<ref>", methods=["DELETE"])
@blp.response(204, headers=REQUEST_ID_HEADER)
@blp.raises(*CANNOT_UNLOAD)
@blp.admin
def unload(ref: str) -> None:
    """Have no worker hold a version. It stays on disk."""
    rollouts = services().rollouts
    rollouts.unload(rollouts.find(ref[:MAX_REF_CHARS]))


@blp.route("/rollouts/<rollout_id>")
@blp.response(200, RolloutSchema, example=EXAMPLE, headers=REQUEST_ID_HEADER | RETRY_AFTER_HEADER)
@blp.raises(RolloutNotFound, BrokerUnavailable, MessageRefused, ServingError)
def get_rollout(rollout_id: str) -> Answer:
    """How far a swap or load is, or how it ended. There is a `Retry-After` while it goes on."""
    seen = services().rollouts.progress(rollout_id[:MAX_ID_CHARS])
    headers = {"Cache-Control": "no-store"}
    if seen.state == "preparing":
        headers["Retry-After"] = str(ASK_AGAIN_S)
    return describe(seen), 200, headers


def _body(kind: type[B]) -> B:
    gate = services().gate
    return gate.decode(gate.read(request.environ), kind)


def _answer(rollout_id: str) -> Answer:
    rollouts, given = services().rollouts, request.headers.get(prefer.HEADER)
    wait_s, is_async = prefer.wait_s(given), prefer.is_async(given)
    if is_async and wait_s is None:
        seen = rollouts.progress(rollout_id)
    else:
        seen = rollouts.wait(rollout_id, wait_s)
        if seen.state == "done":
            return describe(seen), 200, prefer.waited(given)
    location = {"Location": f"/rollouts/{rollout_id}", "Retry-After": str(ASK_AGAIN_S)}
    return describe(seen), 202, prefer.applied(given) | location
