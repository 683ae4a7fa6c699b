"""Worker process. Where tasks and control commands find the host of their process."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.host import Host

_hosts: list["Host"] = []


def set_host(host: "Host") -> None:
    """Make `host` the one of this process."""
    _hosts[:] = [host]


def host() -> "Host":
    """The host of this process; only inside a worker there is one."""
    return _hosts[0]
