"""Worker process. Where tasks and control commands find the host of their process."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.host import Host
    from tasks.job_runner import JobRunner

_hosts: list["Host"] = []
_runners: list["JobRunner"] = []


def set_host(host: "Host", jobs: "JobRunner | None" = None) -> None:
    """Make `host` the one of this process, and `jobs` what computes the chunks of jobs."""
    _hosts[:] = [host]
    _runners[:] = [] if jobs is None else [jobs]


def host() -> "Host":
    """The host of this process; only inside a worker there is one."""
    return _hosts[0]


def jobs() -> "JobRunner":
    """What computes the chunks of jobs in this process; only inside a worker there is one."""
    return _runners[0]
