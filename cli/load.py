"""CLI. `mlserve load`: adds a version to the models directory and has the workers hold it."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import click
import redis
from kombu.exceptions import OperationalError

from app.broker import make_celery
from app.contract import HostState
from app.errors import RequestRefused, ServiceUnreachable
from app.fleet import FAILED, READY
from app.models.base import Ref
from app.models.catalog import read_manifest
from app.settings import Settings
from cli.client import ServiceClient
from cli.inventory import look_at_fleet
from cli.options import Call, megabytes, verb

LOOK_EVERY_S = 0.1
API_LOOKS_EVERY_S = 1.0
WAITING = "waiting"
UNREACHABLE = (redis.RedisError, OperationalError, OSError)

Tell = Callable[[str], None]


class Report(NamedTuple):
    """What one worker says of the version; `status` is `WAITING` where it says nothing yet."""

    hostname: str
    status: str
    error: str | None
    memory_bytes: int


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--timeout",
    type=click.FloatRange(0.1),
    default=60.0,
    show_default=True,
    help="Seconds to wait for the workers.",
)
@verb
def load(call: Call, path: Path, timeout: float) -> None:
    """Add a model version and wait until the workers hold it.

    PATH is a model directory, or an archive of one (.zip, .tar, .tar.gz, .tgz).
    """
    from app.models.install import install

    settings = call.settings
    ref, is_new = install(path, Path(settings.models_dir), settings.limits)
    tell = (lambda line: None) if call.as_json else click.echo
    tell(f"{ref} {'installed' if is_new else 'was already installed'} in {settings.models_dir}")
    reports = _spread(settings, ref, timeout, tell)
    data = {"ref": str(ref), "installed": is_new, "workers": [r._asdict() for r in reports]}
    call.show(data, lambda: None)
    if any(report.status != READY for report in reports):
        raise click.exceptions.Exit(1)


def _spread(settings: Settings, ref: Ref, timeout_s: float, tell: Tell) -> list[Report]:
    seen = look_at_fleet(settings)
    if seen.hosts:
        nudge(settings)
        reports = watch(settings, ref, timeout_s, tell)
        _wait_for_api(settings, ref)
        return reports
    why = "no worker is running" if seen.reachable else f"workers are unreachable ({seen.reason})"
    tell(f"{why}: {ref} will be loaded at the next start")
    return []


def _wait_for_api(settings: Settings, ref: Ref) -> None:
    # The API looks at the disk and at the workers once a second: who asks for the version right
    # after this command should get it. One that runs elsewhere, or not at all, is not waited for.
    client = ServiceClient(settings, read_timeout_s=API_LOOKS_EVERY_S)
    deadline = time.monotonic() + 2 * API_LOOKS_EVERY_S
    with suppress(ServiceUnreachable):
        while time.monotonic() < deadline and not _is_offered(client, ref):
            time.sleep(LOOK_EVERY_S)


def _is_offered(client: ServiceClient, ref: Ref) -> bool:
    try:
        return bool(client.get(f"/models/{ref}")["status"] == READY)
    except RequestRefused:
        return False


def nudge(settings: Settings) -> None:
    """Ask the workers to look at the models directory now; they do within 2 s by themselves."""
    with make_celery(settings, "cli") as celery, suppress(*UNREACHABLE):
        celery.control.broadcast("reconcile")


def watch(settings: Settings, ref: Ref, timeout_s: float, tell: Tell) -> list[Report]:
    """Tell of each live worker once it holds `ref` or has failed; the last look at all of them."""
    digest = read_manifest(Path(settings.models_dir) / ref.name / ref.version).digest
    deadline = time.monotonic() + timeout_s
    told: set[str] = set()
    while True:
        reports = [_report(host, ref, digest) for host in look_at_fleet(settings).hosts]
        is_late = time.monotonic() >= deadline
        for report in reports:
            if report.hostname not in told and (report.status != WAITING or is_late):
                told.add(report.hostname)
                tell(_line(report))
        if is_late or all(report.status != WAITING for report in reports):
            return reports
        time.sleep(LOOK_EVERY_S)


def _report(host: HostState, ref: Ref, digest: str) -> Report:
    for model in host.models:
        if model.ref == str(ref) and model.digest == digest:
            return Report(host.hostname, model.status, model.error, model.memory_bytes)
    return Report(host.hostname, WAITING, None, 0)


def _line(report: Report) -> str:
    if report.status == FAILED:
        return f"{report.hostname}: cannot load it: {report.error}"
    if report.status == WAITING:
        return f"{report.hostname}: not loaded in time; `mlserve list` shows when it is"
    return f"{report.hostname}: loaded, {megabytes(report.memory_bytes)}"
