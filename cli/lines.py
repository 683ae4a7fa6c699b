"""CLI. Prints the lines of several processes, each behind the coloured name of its process."""

import os
from typing import TextIO

import click

COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "bright_red")


class LinePrinter:
    """Writes `name | line` to `stream`; colours only on a terminal without $NO_COLOR."""

    def __init__(self, names: list[str], stream: TextIO) -> None:
        self._stream = stream
        self._width = max(map(len, names))
        self._colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
        self._is_coloured = stream.isatty() and "NO_COLOR" not in os.environ

    def __call__(self, name: str, line: str) -> None:
        """Print one line of the process `name`."""
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
