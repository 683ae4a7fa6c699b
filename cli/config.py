"""CLI. `mlserve config`: the effective settings and where each came from."""

from typing import Any

import click
import msgspec

from app.config import Loaded, leaves
from app.settings import MASK, SECRET_KEYS
from cli.masking import masked_url
from cli.options import Call, print_table, verb

DEFAULT_ORIGIN = "default"


@click.command()
@verb
def config(call: Call) -> None:
    """Print the effective settings and where each came from."""
    described = describe(call.loaded)
    rows = [(key, _text(item["value"]), item["from"]) for key, item in described.items()]
    call.show(described, lambda: print_table(["setting", "value", "from"], rows))


def describe(loaded: Loaded) -> dict[str, dict[str, Any]]:
    """Value and origin of every setting by its dotted key; passwords and tokens are masked."""
    values = leaves(msgspec.to_builtins(loaded.settings))
    return {
        key: {"value": _masked(key, value), "from": loaded.origins.get(key, DEFAULT_ORIGIN)}
        for key, value in values
    }


def _masked(key: str, value: Any) -> Any:
    if key in SECRET_KEYS and value:
        return MASK
    return masked_url(value) if key == "redis.url" and value else value


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(value) or "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
