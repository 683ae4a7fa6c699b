"""CLI. `mlserve swap` and `mlserve rollback`: another version becomes active on every worker."""

import click

from app.inference.rollouts import describe
from app.models.base import NAME_PATTERN, VERSION_PATTERN, Ref, check_name
from app.models.progress import Progress
from cli.options import Call, verb
from cli.rollouts import Begin, carry_out, finish, timeout_option


@click.command()
@click.argument("name")
@click.argument("version")
@timeout_option
@verb
def swap(call: Call, name: str, version: str, timeout: float | None) -> None:
    """Make VERSION the active one of NAME, once every worker holds it.

    Where a worker cannot hold it, nothing changes. Acts through Redis.
    """
    ref = Ref(check_name(name, NAME_PATTERN), check_name(version, VERSION_PATTERN))
    _swap(call, lambda rollouts: rollouts.swap(ref), timeout)


@click.command()
@click.argument("name")
@timeout_option
@verb
def rollback(call: Call, name: str, timeout: float | None) -> None:
    """Swap NAME to the version that was active before."""
    check_name(name, NAME_PATTERN)
    _swap(call, lambda rollouts: rollouts.roll_back(name), timeout)


def _swap(call: Call, begin: Begin, timeout_s: float | None) -> None:
    seen = carry_out(call, begin, timeout_s)
    finish(call, seen, describe(seen), _sentence(seen))


def _sentence(seen: Progress) -> str:
    name, version = Ref.parse(seen.ref)
    if seen.before in (None, version):
        return f"{seen.ref} is active"
    return f"{seen.ref} is active; `mlserve rollback {name}` returns to {seen.before}"
