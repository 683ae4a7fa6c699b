"""CLI. `mlserve job watch`: a job until it has ended."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from app.errors import RequestRefused, ServiceUnreachable
from cli.client import status_of
from cli.jobs import Job, Jobs
from cli.options import Call, reason, verb
from cli.progress import show

COMPLETED = "completed"
# Statuses of a job that nobody can come back to.
NOT_THERE = (404, 410)


@click.command(short_help="Show the progress of a job until it has ended.")
@click.argument("job_id", metavar="ID")
@verb
def watch(call: Call, job_id: str) -> None:
    """Show the progress of a job until it has ended; exit code 1 unless it is completed."""
    jobs = Jobs(call.settings)
    jobs.read(job_id)
    with going_on(job_id, f"mlserve job watch {job_id}"):
        job = show(jobs.follow(job_id), call.as_json)
    call.show(job, lambda: _print(job))
    if job["status"] != COMPLETED:
        raise click.exceptions.Exit(1)


@contextmanager
def going_on(job_id: str, command: str) -> Iterator[None]:
    """Whatever ends this early leaves the job alone, and says which command comes back to it.

    That is Ctrl-C, a service that is lost from sight, or results that cannot be written.
    """
    ways = f"`{command}` comes back to it, `mlserve job cancel {job_id}` ends it"
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"\nthe job goes on: {ways}", err=True)
        raise click.exceptions.Exit(1) from None
    except (ServiceUnreachable, RequestRefused) as error:
        if isinstance(error, RequestRefused) and status_of(error) in NOT_THERE:
            raise
        raise click.ClickException(f"{error}; the job goes on: {ways}") from error
    except BrokenPipeError:
        # Nobody reads what is printed any more (`| head`).
        click.echo(f"the job goes on: {ways}", err=True)
        raise
    except OSError as error:
        raise click.ClickException(f"{reason(error)}; the job goes on: {ways}") from error
    except click.ClickException as error:
        kind = click.UsageError if isinstance(error, click.UsageError) else click.ClickException
        said = f"{error.message}; the job is not lost: `{command}` comes back to it"
        raise kind(said) from error


def _print(job: Job) -> None:
    if job["error"]:
        click.echo(f"{job['status']}: {job['error']['message']}")
    if job["request_counts"]["failed"]:
        click.echo(f"`mlserve job errors {job['id']}` says why texts failed")
    click.echo(f"`mlserve job results {job['id']}` prints the results")
