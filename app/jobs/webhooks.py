"""Shared. Which addresses may be told of the end of a job, and how they know that we told them.

A caller chooses the address, so it is a way into the operator's network. Only hosts that the
operator has named are told, and only at addresses that were checked after they were resolved.
"""

import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from app.errors import WebhookRefused
from app.settings import Settings

MAX_URL_CHARS = 2048
SIGNATURE_HEADER = "X-Mlserve-Signature"
ID_HEADER = "X-Mlserve-Webhook-Id"

_PRINTABLE = re.compile(r"[!-\[\]-~]+")
_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")
_PORTS = {"https": 443, "http": 80}
# These carry an IPv4 address, which counts in its place.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Target:
    """Where a webhook goes: `path` is all after the host, `host` a name or a bare address."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def check(url: str, settings: Settings) -> None:
    """Raise `WebhookRefused` unless a job may name `url`; nothing is resolved or connected to."""
    target_of(url, settings)


def target_of(url: str, settings: Settings) -> Target:
    """The parts of a URL that a job may name; `WebhookRefused` says what is wrong with it."""
    target = _parse(url)
    limits = settings.jobs
    if not any(_matches(target.host, pattern) for pattern in limits.webhook_allow):
        raise WebhookRefused(f"{target.host} is not in jobs.webhook_allow")
    if target.scheme != "https" and not limits.webhook_allow_private:
        raise WebhookRefused("it must begin with https://")
    literal = _literal(target.host)
    if literal and not may_connect(literal, target.scheme, limits.webhook_allow_private):
        raise WebhookRefused(f"{literal} is not a public address")
    return target


def may_connect(address: Address, scheme: str, allow_private: bool) -> bool:
    """Whether a host that is allowed may be told at this one of its addresses.

    Private and loopback addresses only with `allow_private`, and plain http only there. Link-local
    ones, where clouds keep their credentials, and groups never.
    """
    address = _embedded(address)
    never = (address.is_link_local, address.is_multicast, address.is_unspecified)
    if any(never) or (address.is_reserved and not address.is_loopback):
        return False
    is_public = address.is_global and not getattr(address, "is_site_local", False)
    return scheme == "https" if is_public else allow_private


def sign(body: bytes, secret: str, at_s: int) -> str:
    """The value of `SIGNATURE_HEADER`: when it was signed, in Unix seconds, and the HMAC."""
    signed = b"%d.%b" % (at_s, body)
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


def _parse(url: str) -> Target:
    # urlsplit drops line ends and tabs; a backslash is a slash to some.
    if len(url) > MAX_URL_CHARS or not _PRINTABLE.fullmatch(url):
        raise WebhookRefused(f"it must be a URL of at most {MAX_URL_CHARS} printable characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise WebhookRefused(f"it is not a URL: {error}") from error
    if parts.scheme not in _PORTS:
        raise WebhookRefused("it must begin with https://")
    if parts.username is not None or parts.password is not None or "#" in url:
        raise WebhookRefused("it must have no user name, password or fragment")
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    return Target(parts.scheme, _host(parts), port or _PORTS[parts.scheme], path)


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").rstrip(".")
    if "%" in host or not (_HOST.fullmatch(host) or _literal(host)):
        raise WebhookRefused("it has no valid host name")
    return host


def _matches(host: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and _literal(host) is None
    return host == pattern


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _embedded(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address
