"""Worker process. Posts a webhook to an address that was checked, and to no other.

A host is resolved once and every answer checked; the connection then goes to that address, so that
a second answer of its name server cannot lead elsewhere. Redirects are not followed.
"""

import http.client
import ipaddress
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from app.jobs.webhooks import Address, Target, may_connect

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 10.0
# Also for a receiver that sends a byte now and then; with all else below the lease of an outbox.
MAX_POST_S = 20.0
MAX_ADDRESSES = 3

Resolve = Callable[[str, int], list[Address]]


class PostFailed(Exception):
    """There was no answer; the text says why, without the path of the URL."""


def resolve(host: str, port: int) -> list[Address]:
    """All addresses of a host, as the system finds them; raises `OSError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(info[4][0]) for info in found))


class Courier:
    """Posts over connections that live for one request."""

    def __init__(self, allow_private: bool, resolve: Resolve = resolve) -> None:
        self._allow_private, self._resolve = allow_private, resolve

    def post(self, target: Target, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer, whatever it is; raises `PostFailed`."""
        failure: Exception | None = None
        for address in self._addresses(target)[:MAX_ADDRESSES]:
            try:
                return _post(_connect(target, address), target, body, headers)
            except (OSError, HTTPError, http.client.HTTPException) as error:
                failure = error
        raise PostFailed(f"{target.host}: {failure}") from failure

    def _addresses(self, target: Target) -> list[Address]:
        try:
            found = self._resolve(target.host, target.port)
        except OSError as error:
            raise PostFailed(f"{target.host} cannot be resolved: {error.strerror}") from error
        for address in found:
            if not may_connect(address, target.scheme, self._allow_private):
                raise PostFailed(f"{target.host} is at {address}, which is not allowed")
        return found


def _connect(target: Target, address: Address) -> HTTPConnection:
    if target.scheme == "http":
        return HTTPConnection(str(address), target.port, timeout=CONNECT_TIMEOUT_S)
    # The certificate has to be that of the name, not of the address.
    return HTTPSConnection(
        str(address), target.port, timeout=CONNECT_TIMEOUT_S, server_hostname=target.host
    )


def _post(
    connection: HTTPConnection, target: Target, body: bytes, headers: Mapping[str, str]
) -> int:
    cutting = threading.Timer(MAX_POST_S, _cut, [connection])
    cutting.daemon = True
    cutting.start()
    try:
        connection.connect()
        # Not that of the socket: each step sets it anew.
        connection.timeout = READ_TIMEOUT_S
        sent = {"Host": target.authority, **headers}
        connection.request("POST", target.path, body, sent, preload_content=False)
        return connection.getresponse().status
    finally:
        cutting.cancel()
        connection.close()


def _cut(connection: HTTPConnection) -> None:
    """Wake up whoever reads from the connection: a time-out counts from each byte."""
    with suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)
