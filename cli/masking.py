"""CLI. Keeps secrets out of what is printed."""

import re

# Before the host, and among the parameters: `password` and `ssl_password`.
_PASSWORDS = re.compile(r"(://[^/?#@:]*:)[^/?#]*(?=@)|([?&][^=&]*password=)[^&]*")


def masked_url(url: str) -> str:
    """The address with its passwords, if it has any, replaced by stars."""
    return _PASSWORDS.sub(lambda found: f"{found[1] or found[2]}***", url)
