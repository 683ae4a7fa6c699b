"""CLI. Swaps and loads from the command line: the same as over HTTP, through Redis.

Whoever may write to Redis may change models: no admin token is asked for here.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import click
import redis
from celery import Celery
from kombu.exceptions import OperationalError

from app.broker import make_celery, redis_client, redis_url
from app.clock import RedisClock
from app.errors import RedisNotReady, RequestRefused, RolloutFailed, ServiceUnreachable
from app.fleet import READY
from app.inference.rollouts import Rollouts, failure
from app.models.catalog import Catalog
from app.models.progress import WAITING, Progress
from app.settings import Settings
from cli.client import ServiceClient
from cli.masking import masked_url
from cli.options import Call, NumberRange

API_LOOKS_EVERY_S = 1.0
ASK_EVERY_S = 0.1

Begin = Callable[[Rollouts], str]

timeout_option = click.option(
    "--timeout",
    type=NumberRange(0.1),
    help="Seconds to wait for the workers, which go on after that (default: until it has ended).",
)


class Workers:
    """The way to them from this process: the clock of Redis, and a broadcast."""

    def __init__(self, celery: Celery, client: "redis.Redis") -> None:
        self._celery = celery
        self._clock = RedisClock()
        self._clock.sync(client)

    def now(self) -> float:
        """Redis server seconds."""
        return self._clock.now()

    def nudge(self) -> None:
        """Broadcast `reconcile`; workers that miss it look every two seconds by themselves."""
        with suppress(redis.RedisError, OperationalError, OSError):
            self._celery.control.broadcast("reconcile")


class Told:
    """Prints a line for each worker once it holds the version, or cannot."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._known: set[str] = set()
        self.last: Progress | None = None

    def __call__(self, seen: Progress) -> None:
        """Print what is new in `seen`."""
        self.last = seen
        for row in seen.workers:
            if row.status != WAITING and row.hostname not in self._known:
                self._known.add(row.hostname)
                said = "ready" if row.status == READY else f"cannot hold it: {row.error}"
                self._call.tell(f"{row.hostname}: {said}")


@contextmanager
def opened(settings: Settings) -> Iterator[Rollouts]:
    """The rollouts of the fleet; `RedisNotReady` where Redis does not answer."""
    with make_celery(settings, "cli") as celery, redis_client(settings) as client:
        try:
            workers = Workers(celery, client)
        except redis.RedisError as error:
            reason = " ".join(str(error).split())
            raise RedisNotReady(masked_url(redis_url(settings)), reason) from error
        catalog = Catalog(settings.models_dir, settings.default_model)
        with closing(Rollouts(settings, catalog, workers)) as rollouts:
            yield rollouts


def carry_out(call: Call, begin: Begin, timeout_s: float | None) -> Progress:
    """Begin a rollout and follow it, telling of each worker; how it ended, or how far it came."""
    told = Told(call)
    with opened(call.settings) as rollouts:
        begun = begin(rollouts)
        try:
            seen = rollouts.wait(begun, timeout_s, told)
        except RolloutFailed:
            if told.last is None:
                raise
            return told.last
    if seen.state == "done":
        wait_for_api(call.settings, seen)
    return seen


def check(seen: Progress) -> None:
    """Return where it is done; otherwise exit with 1 and the reason."""
    if seen.state == "failed":
        raise failure(seen)
    if seen.state != "done":
        late = ", ".join(row.hostname for row in seen.workers if row.status == WAITING)
        raise click.ClickException(f"{seen.ref}: not ready in time, and goes on: {late}")


def finish(call: Call, seen: Progress, data: dict[str, Any], sentence: str) -> None:
    """Print the end of a verb, and exit with 1 where it was not reached."""
    if call.as_json:
        call.show(data, lambda: None)
        if seen.state != "done":
            raise click.exceptions.Exit(1)
    else:
        check(seen)
        click.echo(sentence)


def wait_for_api(settings: Settings, seen: Progress) -> None:
    """Until the API of this machine goes by what is done, which takes it a second at most.

    Who asks right after the command should get the new version. An API that runs elsewhere, or
    not at all, is not waited for.
    """
    client = ServiceClient(settings, read_timeout_s=API_LOOKS_EVERY_S)
    deadline = time.monotonic() + 2 * API_LOOKS_EVERY_S
    with suppress(ServiceUnreachable):
        while time.monotonic() < deadline and not _is_served(client, seen):
            time.sleep(ASK_EVERY_S)


def _is_served(client: ServiceClient, seen: Progress) -> bool:
    try:
        model = client.get(f"/models/{seen.ref}")
        return bool(model["status"] == READY and (model["active"] or not seen.activated))
    except RequestRefused:
        return False
