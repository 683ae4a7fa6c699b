"""CLI. Decides when a starting service is ready, or that it will never be."""

import time

from app.errors import DefaultModelBroken, RequestRefused, ServiceUnreachable, StartRefused
from app.fleet import READY
from app.models.base import Ref
from app.settings import Settings
from cli.client import ServiceClient
from cli.inventory import look_at_fleet
from cli.supervisor import Supervisor

POLL_S = 0.25
READ_TIMEOUT_S = 1.0


class Readiness:
    """Looks now and then at what the workers that we started say, then asks the API.

    The API is asked last: each "not yet" would be a warning in its log.
    """

    def __init__(self, settings: Settings, default: Ref, supervisor: Supervisor) -> None:
        self.reason = "no worker has loaded the default model"
        self._settings = settings
        self._default = str(default)
        self._supervisor = supervisor
        self._client = ServiceClient(settings, read_timeout_s=READ_TIMEOUT_S)
        self._next_at = 0.0

    def is_reached(self) -> bool:
        """Whether a prediction can be made; `reason` says why not.

        Raises `StartRefused` when a process ended by itself: it would only end again. Raises
        `DefaultModelBroken` when a worker could not load the default model.
        """
        for sentence in self._supervisor.ended:
            raise StartRefused(f"{sentence}; its lines above say why")
        if time.monotonic() < self._next_at:
            return False
        self._next_at = time.monotonic() + POLL_S
        return self._is_held() and self._is_served()

    def _is_held(self) -> bool:
        ours = set(self._supervisor.pids().values())
        hosts = [host for host in look_at_fleet(self._settings).hosts if host.pid in ours]
        said = [model for host in hosts for model in host.models if model.ref == self._default]
        for model in said:
            if model.error is not None:
                raise DefaultModelBroken(model.error)
        return any(model.status == READY for model in said)

    def _is_served(self) -> bool:
        try:
            self._client.get("/health/ready")
        except (RequestRefused, ServiceUnreachable) as error:
            self.reason = str(error)
            return False
        return True
