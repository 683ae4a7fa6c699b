"""CLI. `mlserve unload`: no worker holds a version any more."""

import click

from cli.options import Call, verb
from cli.rollouts import opened


@click.command()
@click.argument("ref")
@verb
def unload(call: Call, ref: str) -> None:
    """Have no worker hold REF, such as sentiment-v2. It stays on disk.

    The active version of a name cannot be unloaded. Acts through Redis.
    """
    with opened(call.settings) as rollouts:
        found = rollouts.find(ref)
        rollouts.unload(found)
    sentence = f"{found} is let go of; workers keep it for requests that are on their way"
    call.show({"model_version": str(found)}, lambda: click.echo(sentence))
