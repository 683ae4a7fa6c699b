"""Shared. `monitoring.port`: the metrics of the machine, apart from the API.

One process of a machine listens there. `mlserve serve` does it itself; where a process manager
starts the processes, whichever comes first does, and another one takes over when it ends.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, make_wsgi_app, start_http_server

from app.monitoring.counts.exposition import understood
from app.settings import Settings

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger(__name__)

RETRY_S = 2.0
# Set for the processes of `mlserve serve`. One that outlives it, because it is still finishing what
# it computes, would keep the port from the next one. No setting, so without the prefix of those.
SERVED_VARIABLE = "MONITORING_PORT_SERVED"


def listen(settings: Settings, registry: CollectorRegistry) -> Callable[[], None]:
    """Serve `registry` until the returned function is called; `OSError` where that cannot be."""
    host, port = settings.server.host, settings.monitoring.port
    server, thread = start_http_server(port, host, registry)
    server.set_app(partial(_answer, make_wsgi_app(registry)))

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close


def _answer(
    answer: "WSGIApplication", environ: "WSGIEnvironment", start: "StartResponse"
) -> Iterable[bytes]:
    environ["HTTP_ACCEPT"] = understood(environ.get("HTTP_ACCEPT", ""))
    return answer(environ, start)


class SharedPort:
    """Serves where nobody else does, from `start` to `leave`; never below `mlserve serve`."""

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        self._settings, self._registry = settings, registry
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics port", daemon=True)

    def start(self) -> None:
        """Try from now on; returns at once."""
        if SERVED_VARIABLE not in os.environ:
            self._thread.start()

    def leave(self) -> None:
        """Leave the port to another process; returns at once."""
        self._stopping.set()

    def stop(self) -> None:
        """The same, and wait until that is done; also where it was never started."""
        self.leave()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            close = self._listen()
            self._stopping.wait(RETRY_S if close is None else None)
            if close is not None:
                close()

    def _listen(self) -> Callable[[], None] | None:
        try:
            close = listen(self._settings, self._registry)
        except OSError as error:
            # As it is for all processes of a machine but one.
            logger.debug("metrics port is taken", extra={"cause": repr(error)})
            return None
        logger.info("serves metrics", extra={"port": self._settings.monitoring.port})
        return close
