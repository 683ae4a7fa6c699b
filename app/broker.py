"""Shared. The one place that turns settings into a Celery app and Redis connections.

`celeryconfig.py` holds the delivery policy; addresses and timeouts, which differ between the API
(never wait long) and the workers (outlive a restart of Redis), are added here.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis
from celery import Celery
from kombu.exceptions import OperationalError
from kombu.transport import TRANSPORT_ALIASES

from app.errors import BrokerUnavailable
from app.settings import Settings

Role = Literal["api", "worker", "cli"]

WORKER_SOCKET_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 1.0
# Unix socket paths are limited to 107 bytes on Linux and 103 on macOS.
MAX_SOCKET_PATH_BYTES = 100

# Every kombu connection of our processes, Celery's own included, gets the guarded transport.
TRANSPORT_ALIASES.update(redis="app.transport:Transport", rediss="app.transport:Transport")


def embedded_socket(settings: Settings) -> Path:
    """Where the Redis that `mlserve serve` starts listens, the same for every process."""
    path = Path(settings.state_dir) / "redis.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"mlserve-{os.getuid()}-{digest}" / "redis.sock"


def redis_url(settings: Settings) -> str:
    """The configured address, or the embedded server's socket."""
    return settings.redis.url or f"unix://{embedded_socket(settings)}"


def redis_client(settings: Settings, timeout_s: float | None = None) -> "redis.Redis":
    """A client that gives up after `timeout_s` (default: `redis.socket_timeout_s`)."""
    timeout_s = timeout_s or settings.redis.socket_timeout_s
    return redis.Redis.from_url(
        redis_url(settings),
        socket_timeout=timeout_s,
        socket_connect_timeout=min(timeout_s, CONNECT_TIMEOUT_S),
    )


@contextmanager
def broker_errors() -> Iterator[None]:
    """Turn what redis, kombu and sockets raise into `BrokerUnavailable`."""
    try:
        yield
    except (redis.RedisError, OperationalError, OSError) as error:
        raise BrokerUnavailable() from error


def make_celery(settings: Settings, role: Role) -> Celery:
    """The Celery app of one process; connects to nothing yet."""
    app = Celery("mlserve", set_as_current=role == "worker")
    app.config_from_object("celeryconfig")
    url = _celery_url(redis_url(settings))
    app.conf.update(
        broker_url=url,
        result_backend=f"app.mailbox:MailboxBackend+{url.removeprefix('redis+')}",
        **_timeouts(settings, role),
    )
    app.conf.broker_transport_options = {
        **app.conf.broker_transport_options,
        **_transport_options(settings, role),
    }
    return app


def _celery_url(url: str) -> str:
    """The address as Celery and kombu have to be told it; redis-py's own is `url`."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    database = query.pop("db", None)
    if parts.scheme == "unix":
        named = {} if database is None else {"virtual_host": database}
        return _with_query(f"redis+socket://{parts.netloc}{parts.path}", query | named)
    if parts.scheme == "rediss":
        # As redis-py does by itself. Celery refuses to start without, and kombu would believe any
        # certificate.
        query.setdefault("ssl_cert_reqs", "required")
    path = parts.path if database is None else f"/{database}"
    return _with_query(f"{parts.scheme}://{parts.netloc}{path}", query)


def _with_query(address: str, query: Mapping[str, str]) -> str:
    return f"{address}?{urlencode(query)}" if query else address


def _socket_timeout_s(settings: Settings, role: Role) -> float:
    return WORKER_SOCKET_TIMEOUT_S if role == "worker" else settings.redis.socket_timeout_s


def _transport_options(settings: Settings, role: Role) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_timeout": _socket_timeout_s(settings, role),
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
    }
    # Opening a channel retries for ever unless told otherwise; a caller is waiting for us.
    return options if role == "worker" else options | {"max_retries": 0}


def _timeouts(settings: Settings, role: Role) -> dict[str, Any]:
    timeout_s = _socket_timeout_s(settings, role)
    common = {"redis_socket_timeout": timeout_s, "redis_socket_connect_timeout": CONNECT_TIMEOUT_S}
    if role == "worker":
        return common
    return common | {
        "result_backend_always_retry": False,
        "result_backend_thread_safe": True,
        "task_publish_retry": False,
        "broker_connection_timeout": CONNECT_TIMEOUT_S,
        "broker_pool_acquire_timeout": 0.5,
    }
