"""CLI. `mlserve job watch`: a job until it has ended."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from cli.jobs import Job, Jobs
from cli.options import Call, verb
from cli.progress import show

COMPLETED = "completed"


@click.command()
@click.argument("job_id", metavar="ID")
@verb
def watch(call: Call, job_id: str) -> None:
    """Show the progress of a job until it has ended; exit code 1 unless it is completed."""
    with going_on(job_id, f"mlserve job watch {job_id}"):
        job = show(Jobs(call.settings).follow(job_id), call.as_json)
    call.show(job, lambda: _print(job))
    if job["status"] != COMPLETED:
        raise click.exceptions.Exit(1)


@contextmanager
def going_on(job_id: str, command: str) -> Iterator[None]:
    """Ctrl-C leaves the job alone, and says with which command to come back to it."""
    try:
        yield
    except KeyboardInterrupt:
        ways = f"`{command}` comes back to it, `mlserve job cancel {job_id}` ends it"
        click.echo(f"\nthe job goes on: {ways}", err=True)
        raise click.exceptions.Exit(1) from None


def _print(job: Job) -> None:
    if job["error"]:
        click.echo(f"{job['status']}: {job['error']['message']}")
    if job["request_counts"]["failed"]:
        click.echo(f"`mlserve job errors {job['id']}` says why texts failed")
    click.echo(f"`mlserve job results {job['id']}` prints the results")
