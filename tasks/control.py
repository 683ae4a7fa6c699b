"""Worker process. Commands of `celery -A tasks inspect|control`, also sent by the API and the CLI.

Handlers run in the thread that takes messages from Redis: they look or leave a request, and return.
What came of a request stands in `inspect registry`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from celery.worker.control import control_command, inspect_command

from app.errors import UnsafePath
from app.models import desired as document
from app.models import rollout
from app.models.base import Ref
from app.models.catalog import Entry
from tasks import running

if TYPE_CHECKING:
    from tasks.host import Host


@inspect_command()
def models(state: Any) -> list[dict[str, Any]]:
    """Model versions that this worker holds or could not load."""
    return [msgspec.to_builtins(model) for model in running.host().registry.held()]


@inspect_command()
def registry(state: Any) -> dict[str, Any]:
    """What should serve, what is on its way, and what came of the last requests."""
    return running.host().told()


@control_command()
def reconcile(state: Any) -> dict[str, str]:
    """Look now at what should be held, and at the models directory."""
    running.host().reconciler.nudge()
    return {"ok": "looking"}


@control_command(args=[("name", str), ("version", str)], signature="NAME VERSION")
def swap_model(state: Any, name: str, version: str) -> dict[str, str]:
    """Make VERSION the active one of NAME once every worker holds it."""
    return _begin(f"{name}-{version}", activate=True)


@control_command(args=[("ref", str)], signature="NAME-VERSION")
def load_model(state: Any, ref: str) -> dict[str, str]:
    """Have every worker hold a version; what is active stays."""
    return _begin(ref, activate=False)


@control_command(args=[("ref", str)], signature="NAME-VERSION")
def unload_model(state: Any, ref: str) -> dict[str, str]:
    """Have no worker hold a version; the active one cannot be unloaded."""
    host = running.host()

    def unload() -> str:
        found = _look(host, ref)
        rollout.unload(host.redis, host.catalog, found.ref)
        return "unloaded"

    return _request(f"unload {ref}", ref, unload)


def _begin(ref: str, activate: bool) -> dict[str, str]:
    host = running.host()

    def begin() -> str:
        found = _look(host, ref)
        name, known = found.ref.name, host.catalog.desired()
        # Another worker got the same broadcast, and was quicker.
        if activate and host.catalog.active(name) == found.ref and name not in known.rollouts:
            return "it is active"
        begun = rollout.begin(
            host.redis,
            host.catalog,
            found,
            activate=activate,
            now=host.now(),
            timeout_s=host.settings.models.load_timeout_s,
        )
        return f"rollout {begun}"

    return _request(f"{'swap to' if activate else 'load'} {ref}", ref, begin)


def _look(host: "Host", ref: str) -> Entry:
    """The version as it is on disk now, and the desired state as it is in Redis now."""
    host.catalog.entries(fresh=True)
    host.catalog.follow(document.read(host.redis))
    return host.catalog.get(Ref.parse(ref))


def _request(what: str, ref: str, change: Callable[[], str]) -> dict[str, str]:
    try:
        Ref.parse(ref)
    except UnsafePath as error:
        return {"error": str(error)}
    host = running.host()

    def carry_out() -> str:
        outcome = change()
        host.reconciler.nudge()
        return outcome

    host.requests.ask(what, carry_out)
    return {"ok": f"{what}: asked for; `inspect registry` tells how it goes"}
