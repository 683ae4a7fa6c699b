"""CLI. `mlserve job status`, `list` and `cancel`: one look at jobs, and the end of one."""

from datetime import datetime
from typing import Any

import click

from cli.jobs import Job, Jobs, has_ended
from cli.options import Call, print_table, verb
from cli.progress import done

COLUMNS = ("job", "status", "texts", "failed", "version", "created")
TIMES = (
    *("created_at", "in_progress_at", "cancelling_at", "completed_at", "failed_at"),
    *("expired_at", "cancelled_at", "expires_at"),
)


@click.command()
@click.argument("job_id", metavar="ID")
@verb
def status(call: Call, job_id: str) -> None:
    """Show how far a job is."""
    job = Jobs(call.settings).read(job_id)
    call.show(job, lambda: print_table(("figure", "value"), _figures(job)))


@click.command("list")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--before", metavar="ID", help="Those that are older than this job.")
@verb
def list_jobs(call: Call, limit: int, before: str | None) -> None:
    """List the jobs, the newest first."""
    page = Jobs(call.settings).page(limit, before)
    call.show(page, lambda: _print(page))


@click.command()
@click.argument("job_id", metavar="ID")
@verb
def cancel(call: Call, job_id: str) -> None:
    """Compute no more of a job; what it has got stays."""
    job = Jobs(call.settings).cancel(job_id)
    call.show(job, lambda: click.echo(_cancelled(job)))


def _cancelled(job: Job) -> str:
    counts = job["request_counts"]
    kept = f"{counts['completed']} of {counts['total']} texts have their results"
    if has_ended(job):
        return f"{job['id']} is {job['status']}; {kept}"
    return f"{job['id']} is {job['status']}: what workers compute now is still delivered; {kept}"


def _figures(job: Job) -> list[tuple[str, str]]:
    counts = ", ".join(f"{number} {name}" for name, number in job["request_counts"].items())
    rows = [("status", job["status"]), ("version", job["model_version"]), ("texts", counts)]
    if job["texts_per_s"] is not None:
        rows.append(("texts/s", f"{job['texts_per_s']:.0f}"))
    if job["eta_s"] is not None and not has_ended(job):
        rows.append(("left", f"{job['eta_s']:.0f} s"))
    rows += [
        (name.removesuffix("_at").replace("_", " "), _time(job[name]))
        for name in TIMES
        if job[name] is not None
    ]
    rows += [(f"metadata {key}", value) for key, value in job["metadata"].items()]
    return rows + ([("error", job["error"]["message"])] if job["error"] else [])


def _print(page: dict[str, Any]) -> None:
    print_table(COLUMNS, [_cells(job) for job in page["jobs"]])
    if page["next_before"]:
        click.echo(f"`mlserve job list --before {page['next_before']}` shows older ones")


def _cells(job: Job) -> tuple[str, ...]:
    counts = job["request_counts"]
    return (
        job["id"],
        job["status"],
        f"{done(job)} of {counts['total']}",
        str(counts["failed"]),
        job["model_version"],
        _time(job["created_at"]),
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")
