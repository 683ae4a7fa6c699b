"""CLI. How far a job is: a live bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import click

from cli.jobs import Job, has_ended

LINE_EVERY_S = 5.0


def show(looks: Iterable[Job], as_json: bool) -> Job:
    """Show each look at a job until the last one, which is returned; nothing with `as_json`.

    The bar is drawn on standard error, so that what follows can be piped.
    """
    if as_json:
        return _last(looks, lambda job: None)
    if sys.stderr.isatty():
        return draw(looks)
    return _last(looks, Lines())


def draw(looks: Iterable[Job], console: Any = None) -> Job:
    """The bar, with texts per second and the time that is left as the service estimates it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.fields[what]}"), BarColumn(), TextColumn("{task.fields[more]}"))
    with Progress(*columns, console=console or Console(stderr=True)) as progress:
        task = progress.add_task("", total=None, what="", more="")

        def update(job: Job) -> None:
            total = job["request_counts"]["total"]
            more = f"{_counted(job)}{_pace(job)}"
            progress.update(task, total=total, completed=done(job), what=job["status"], more=more)

        return _last(looks, update)


class Lines:
    """Prints a line when the status changes, and every few seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._next_at, self._status = now, 0.0, ""

    def __call__(self, job: Job) -> None:
        """Print this look at the job, if it is time."""
        if job["status"] != self._status or self._now() >= self._next_at or has_ended(job):
            self._status, self._next_at = job["status"], self._now() + LINE_EVERY_S
            click.echo(f"{job['status']}: {_counted(job)}{_pace(job)}")


def done(job: Job) -> int:
    """Texts that have a result, whatever it is."""
    counts = job["request_counts"]
    return int(counts["completed"] + counts["failed"] + counts["cancelled"])


def _counted(job: Job) -> str:
    counts = job["request_counts"]
    others = "".join(f", {counts[name]} {name}" for name in ("failed", "cancelled") if counts[name])
    return f"{done(job)} of {counts['total']} texts{others}"


def _pace(job: Job) -> str:
    rate, left_s = job["texts_per_s"], job["eta_s"]
    pace = "" if rate is None else f", {rate:.0f} texts/s"
    return pace if left_s is None or has_ended(job) else f"{pace}, {duration(left_s)} left"


def duration(seconds: float) -> str:
    """A time for people: `2 h 5 min`, `3 min 20 s` or `7 s`."""
    minutes, rest_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest_s} s" if minutes else f"{rest_s} s"


def _last(looks: Iterable[Job], each: Callable[[Job], None]) -> Job:
    job: Job = {}
    for job in looks:
        each(job)
    return job
