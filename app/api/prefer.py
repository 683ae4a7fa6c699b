"""API process. The `Prefer` header (RFC 7240), as far as it concerns how long a caller waits."""

import re

HEADER = "Prefer"
APPLIED_HEADER = "Preference-Applied"

PARAMETER = {
    "in": "header",
    "name": HEADER,
    "description": "`wait=N`: wait N seconds at most (RFC 7240).",
    "schema": {"type": "string"},
    "example": "wait=2",
}
_WAIT = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?([1-9][0-9]{0,5})\"?\s*(?:,|;|$)", re.IGNORECASE)


def wait_s(given: str | None) -> int | None:
    """Seconds that a caller with this header is willing to wait; None where it does not say.

    As the RFC has it, what cannot be understood is ignored, and the first of several counts.
    """
    found = _WAIT.search(given) if given else None
    return int(found[1]) if found else None
