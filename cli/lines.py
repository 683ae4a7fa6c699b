"""CLI. Prints the lines of several processes, each with the name of its process."""

import json
import os
import time
from typing import Any, TextIO

import click

COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "bright_red")


class LinePrinter:
    """Writes `name | line` to `stream`; colours only on a terminal without $NO_COLOR.

    With `as_json` a line is the JSON object that the process wrote, or one made of what it wrote:
    Redis and a dying interpreter know no JSON. `process` is then the name.
    """

    def __init__(self, names: list[str], stream: TextIO, as_json: bool = False) -> None:
        self._stream = stream
        self._as_json = as_json
        self._width = max(map(len, names))
        self._colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
        self._is_coloured = stream.isatty() and "NO_COLOR" not in os.environ

    def __call__(self, name: str, line: str) -> None:
        """Print one line of the process `name`."""
        if self._as_json:
            self.write(json.dumps(_event(line) | {"process": name}))
            return
        prefix = f"{name.ljust(self._width)} |"
        if self._is_coloured:
            prefix = click.style(prefix, fg=self._colours.get(name))
        self.write(f"{prefix} {line}")

    def write(self, text: str) -> None:
        """Print text as it is. A reader that has left (`| head`) does not end the service."""
        try:
            click.echo(text, file=self._stream)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def _event(line: str) -> dict[str, Any]:
    if line.startswith("{"):
        try:
            event: dict[str, Any] = json.loads(line)
            return event
        except (ValueError, RecursionError):
            pass
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"time": moment, "level": "INFO", "message": line}
