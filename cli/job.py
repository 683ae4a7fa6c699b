"""CLI. `mlserve job`: texts that are submitted at once and fetched when they are done."""

import click

from cli.job_results import errors, results
from cli.job_status import cancel, list_jobs, status
from cli.job_submit import submit
from cli.job_watch import watch


@click.group()
def job() -> None:
    """Submit, watch and fetch bulk jobs, which survive restarts of everything."""


for _verb in (submit, status, watch, results, errors, cancel, list_jobs):
    job.add_command(_verb)
