"""API process. Who may change models over HTTP, and see the jobs of others.

With `admin.token` whoever knows it; without, only callers on this machine, so that a service is
usable out of the box and not open to a network. Neither counts on a header that a caller writes.
"""

import hmac
import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from app.errors import AdminRefused, TokenRefused
from app.settings import Admin

ADMIN = "admin"
ADMIN_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "`admin.token`. Where that is not set, callers on the same machine need none.",
}
SCHEME = "bearer"

# Added by reverse proxies: behind one on this machine, everybody would look like a local caller.
PROXY_HEADERS = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")


def check_admin(environ: Mapping[str, Any], admin: Admin) -> None:
    """Return where a WSGI request is an operator's; `TokenRefused` or `AdminRefused` otherwise."""
    if admin.token is None:
        if not _is_local(environ):
            raise AdminRefused()
    elif not _has_token(environ.get("HTTP_AUTHORIZATION", ""), admin.token):
        raise TokenRefused()


def _has_token(given: str, token: str) -> bool:
    scheme, _, credentials = given.partition(" ")
    # A WSGI header is bytes in the shape of Latin-1.
    is_equal = hmac.compare_digest(credentials.strip().encode("latin-1", "replace"), token.encode())
    return is_equal and scheme.lower() == SCHEME


def _is_local(environ: Mapping[str, Any]) -> bool:
    if any(header in environ for header in PROXY_HEADERS):
        return False
    # A page of another site, in a browser on this machine, is not its user. Nor is one whose own
    # name leads here (DNS rebinding): to the browser we are its site, and of no origin.
    origin, host = environ.get("HTTP_ORIGIN"), environ.get("HTTP_HOST")
    if origin is not None and not _leads_here(origin):
        return False
    if host and not _leads_here(f"//{host}"):
        return False
    # Who comes through a unix socket has no address.
    address = environ.get("REMOTE_ADDR")
    return not address or _is_loopback(address)


def _leads_here(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return host == "localhost" or _is_loopback(host)


def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback
