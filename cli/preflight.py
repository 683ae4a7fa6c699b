"""CLI. What `mlserve serve` checks before it starts anything; each failure is one sentence."""

import fcntl
import os
import socket
from pathlib import Path

import redis

from app.broker import redis_client, redis_url
from app.errors import (
    AlreadyServing,
    DefaultModelBroken,
    ModelNotFound,
    PortTaken,
    RedisNotReady,
    StartRefused,
)
from app.models.base import Ref
from app.models.catalog import Catalog
from app.settings import Settings
from cli.masking import masked_url

LOCK_FILE = "serve.lock"


class StateLock:
    """Holds the state directory for one `mlserve serve`; the kernel lets go when we die."""

    def __init__(self, settings: Settings) -> None:
        directory = Path(settings.state_dir)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = (directory / LOCK_FILE).open("a+")
        except OSError as error:
            raise StartRefused(f"state_dir: {error}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.seek(0)
            owner = self._file.read().strip() or "starting"
            self._file.close()
            raise AlreadyServing(owner, settings.state_dir) from error
        self._file.truncate(0)
        self._file.write(f"pid {os.getpid()}\n")
        self._file.flush()

    def close(self) -> None:
        """Let the next one start."""
        self._file.close()


def check_ports(settings: Settings) -> None:
    """Raise `PortTaken` where we could not listen."""
    _check_port("server", settings.server.host, settings.server.port, "--port")
    if settings.monitoring.enabled:
        variable = "MLSERVE_MONITORING__PORT"
        _check_port("monitoring", settings.server.host, settings.monitoring.port, variable)


def check_redis(settings: Settings) -> None:
    """Raise `RedisNotReady` where the configured Redis does not answer."""
    with redis_client(settings) as client:
        try:
            client.ping()
        except redis.RedisError as error:
            reason = " ".join(str(error).split())
            raise RedisNotReady(masked_url(redis_url(settings)), reason) from error


def check_default_model(settings: Settings) -> Ref:
    """The default version; `DefaultModelBroken` where its manifest already says that it fails.

    Whether its artifacts can be loaded is found out by the first worker, once, not here as well:
    importing the model libraries is most of the time that a start takes.
    """
    try:
        catalog = Catalog(settings.models_dir, settings.default_model)
        entry = catalog.get(catalog.resolve())
    except ModelNotFound as error:
        raise DefaultModelBroken(str(error)) from error
    if entry.error is not None:
        raise DefaultModelBroken(str(entry.error)) from entry.error
    return entry.ref


def _check_port(section: str, host: str, port: int, change: str) -> None:
    key = f"{section}.port"
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        advice = f"choose another with {change}"
        raise PortTaken(key, port, f"{host}:{port}", reason, advice) from error
