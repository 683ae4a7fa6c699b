"""CLI. `mlserve job submit`: the texts of a file, however many, become a job."""

import uuid
from pathlib import Path

import click

from cli.jobs import Job, Jobs
from cli.options import Call, model_option, verb
from cli.records import Source, column_option
from cli.upload import Upload, Wanted


def _pairs(
    context: click.Context, option: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if wrong := [key for key, equals, _ in pairs if not equals or not key]:
        raise click.BadParameter(f"{wrong[0]!r} is not KEY=VALUE")
    return {key: value for key, _, value in pairs}


@click.command(short_help="Submit the texts of a file as a job.")
@click.argument(
    "path",
    metavar="FILE|-",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
)
@column_option
@model_option
@click.option(
    "--metadata", multiple=True, metavar="KEY=VALUE", callback=_pairs, help="Kept with it."
)
@click.option("--webhook", metavar="URL", help="Is told when the job has ended.")
@click.option(
    "--idempotency-key",
    "key",
    metavar="KEY",
    help="The same key and file again are the same job (default: one for each call).",
)
@verb
def submit(  # noqa: PLR0913 - one parameter for each option
    call: Call,
    path: Path,
    column: str | None,
    model: str | None,
    metadata: dict[str, str],
    webhook: str | None,
    key: str | None,
) -> None:
    """Submit the texts of FILE: lines, CSV, TSV or JSON lines; - is standard input.

    Blank texts are left out. Values under `custom_id` come back with the results.
    """
    upload = Upload(Source(path, column), lambda record: not record.is_blank, with_ids=True)
    wanted = Wanted(model, metadata, webhook)
    job = Jobs(call.settings).submit(upload, wanted, key or str(uuid.uuid4()))
    call.show(job, lambda: _print(job, upload.skipped))


def _print(job: Job, skipped: int) -> None:
    click.echo(job["id"])
    left_out = f", {skipped} blank ones left out" if skipped else ""
    total = job["request_counts"]["total"]
    click.echo(f"{total} texts for {job['model_version']}{left_out}", err=True)
    click.echo(f"`mlserve job watch {job['id']}` shows how far it is", err=True)
