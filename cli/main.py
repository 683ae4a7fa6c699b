"""CLI. The `mlserve` command: a literal list of verbs, and one line for every failure."""

import os
import sys
from typing import Any

import click

from app.errors import ServingError
from cli.benchmark import benchmark
from cli.config import config
from cli.drift import drift
from cli.export import export
from cli.feedback import feedback
from cli.job import job
from cli.list import list_models
from cli.load import load
from cli.options import config_option, reason
from cli.predict import predict
from cli.serve import serve
from cli.stats import stats
from cli.swap import rollback, swap
from cli.train import train
from cli.tune import tune
from cli.unload import unload

VERBS = (
    *(serve, predict, load, swap, rollback, unload, list_models),
    *(job, stats, drift, feedback, benchmark, train, tune, export, config),
)


class ReadableErrors(click.Group):
    """Turns an expected failure into one line on standard error and exit code 1."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line and exit."""
        try:
            return super().main(*args, **options)
        except OSError as error:
            click.echo(f"Error: {reason(error)}", err=True)
            sys.exit(1)
        finally:
            _drop_output()

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; what it printed is out when it returns, or it has failed."""
        if sys.stdout is None:
            raise click.ClickException("standard output is closed")
        try:
            found = super().invoke(ctx)
            sys.stdout.flush()
            return found
        except click.exceptions.Exit:
            sys.stdout.flush()
            raise
        except ServingError as error:
            raise click.ClickException(str(error)) from error


def _drop_output() -> None:
    """What cannot be written Python would try again when it ends, and complain in two lines."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=ReadableErrors, context_settings={"help_option_names": ["-h", "--help"]})
@config_option
@click.version_option(package_name="mlserve")
@click.pass_context
def main(ctx: click.Context, config_path: str | None) -> None:
    """Serve text-classification models over HTTP, with Celery workers behind.

    Exit codes: 0 done, 1 failed, 2 wrong usage.
    """
    ctx.obj = config_path


for _verb in VERBS:
    main.add_command(_verb)
