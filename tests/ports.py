"""Loopback ports for processes that are started in tests, beside other tests."""

import itertools
import os
import random
import socket

# Below those that systems give to outgoing connections: none of these takes a port between the
# question whether it is free and its use, nor while the process behind it is restarted.
FIRST, LAST = 12_000, 32_000


def _share() -> list[int]:
    """The ports of this process: no other one of the same test run has any of them."""
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = list(range(FIRST, LAST))[number::count]
    # Other test runs on this machine begin elsewhere.
    start = random.SystemRandom().randrange(len(ports))
    return ports[start:] + ports[:start]


_ports = itertools.cycle(_share())


def free_port() -> int:
    """A loopback port that nothing listens on now, and that was not given away lately."""
    return next(port for port in _ports if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        # As servers do it: what an ended connection leaves behind is in nobody's way.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
