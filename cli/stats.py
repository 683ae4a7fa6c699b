"""CLI. `mlserve stats`: what the service does now, once or again and again."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import click

from app.errors import RequestRefused, ServiceUnreachable
from cli.client import ServiceClient
from cli.options import Call, NumberRange, verb
from cli.picture import Line, Look, picture

Show = Callable[[list[Line]], None]
EVERY_S = NumberRange(min=0.1, max=3600)


@click.command()
@click.option("--watch", is_flag=True, help="Again and again, with rates, until Ctrl-C.")
@click.option("--every", "every_s", type=EVERY_S, default=2.0, show_default=True, metavar="SECONDS")
@verb
def stats(call: Call, watch: bool, every_s: float) -> None:
    """Show health, requests, latencies, errors, queues, drift, workers and jobs."""
    client = ServiceClient(call.settings)
    if watch:
        _watch(client, call.as_json, every_s)
        return
    look = _look(client)
    call.show(look.found, lambda: _once(picture(look, None, client.url)))


def _look(client: ServiceClient) -> Look:
    found = client.get("/stats")
    return Look(found, time.monotonic())


def _once(lines: list[Line]) -> None:
    if not sys.stdout.isatty():
        _echo(lines)
        return
    from rich.console import Console

    Console(highlight=False).print(_drawn(lines), soft_wrap=True)


def _watch(client: ServiceClient, as_json: bool, every_s: float) -> None:
    before: Look | None = None
    try:
        with _screen(as_json) as show:
            while True:
                before = _step(client, before, show, as_json)
                time.sleep(every_s)
    except KeyboardInterrupt:
        # That is how a watch ends.
        return


def _step(client: ServiceClient, before: Look | None, show: Show, as_json: bool) -> Look | None:
    """One more look; an API process that restarts, or is not there yet, is waited for."""
    try:
        look = _look(client)
    except (ServiceUnreachable, RequestRefused) as error:
        if as_json:
            _echo_json({"error": str(error)})
        else:
            show([Line(str(error), "bold red"), *_last_seen(before, client.url)])
        return before
    if as_json:
        _echo_json(look.found)
    else:
        show(picture(look, before, client.url))
    return look


def _last_seen(before: Look | None, url: str) -> list[Line]:
    if before is None:
        return []
    _, *rest = picture(before, None, url)
    ago_s = time.monotonic() - before.at
    return [Line(line.text, "dim") for line in (Line(f"as it was {ago_s:.0f} s ago:"), *rest)]


@contextmanager
def _screen(as_json: bool) -> Iterator[Show]:
    """How a picture is shown: in place of the last one on a terminal, else below it."""
    if as_json or not sys.stdout.isatty():
        yield _echo_block
        return
    from rich.console import Console

    with drawing(Console(highlight=False)) as show:
        yield show


@contextmanager
def drawing(console: Any) -> Iterator[Show]:
    """Draws on a screen of its own, and leaves the terminal as it was; colours as NO_COLOR says."""
    from rich.live import Live

    if console.is_dumb_terminal:
        yield _echo_block
        return
    overflow: Literal["crop"] = "crop"
    with Live(console=console, screen=True, auto_refresh=False, vertical_overflow=overflow) as live:
        yield lambda lines: live.update(_drawn(lines), refresh=True)


def _drawn(lines: list[Line]) -> Any:
    from rich.text import Text

    text = Text("\n", no_wrap=True, overflow="ellipsis", end="\n")
    return text.join(Text(line.text, style=line.style) for line in lines)


def _echo_block(lines: list[Line]) -> None:
    _echo([*lines, Line("")])


def _echo(lines: list[Line]) -> None:
    click.echo("\n".join(line.text for line in lines))


def _echo_json(data: Any) -> None:
    click.echo(json.dumps(data, ensure_ascii=False))
