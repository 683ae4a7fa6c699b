"""Shared. `monitoring.port`: the metrics of the machine, apart from the API.

One process of a machine listens there. `mlserve serve` does it itself; where a process manager
starts the processes, whichever comes first does, and another one takes over when it ends.
"""

import logging
import threading
from collections.abc import Callable

from prometheus_client import CollectorRegistry, start_http_server

from app.settings import Settings

logger = logging.getLogger(__name__)

RETRY_S = 2.0


def listen(settings: Settings, registry: CollectorRegistry) -> Callable[[], None]:
    """Serve `registry` until the returned function is called; `OSError` where that cannot be."""
    host, port = settings.server.host, settings.monitoring.port
    server, thread = start_http_server(port, host, registry)

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close


class SharedPort:
    """Serves where nobody else does, from `start` to `stop`."""

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        self._settings, self._registry = settings, registry
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics port", daemon=True)

    def start(self) -> None:
        """Try from now on; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Leave the port to another process; also where it was never started."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        close = self._listen()
        while close is None and not self._stopping.wait(RETRY_S):
            close = self._listen()
        if close is not None:
            self._stopping.wait()
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
