"""CLI. Keeps secrets out of what is printed."""

import re

_PASSWORD = re.compile(r"(?<=://)([^/@:]*):([^@]*)@")


def masked_url(url: str) -> str:
    """The address with its password, if it has one, replaced by stars."""
    return _PASSWORD.sub(r"\1:***@", url)
