"""API process. The `Prefer` header (RFC 7240): how long a caller waits, and for what."""

import re

HEADER = "Prefer"
APPLIED_HEADER = "Preference-Applied"

APPLIED = {
    APPLIED_HEADER: {
        "description": "What of `Prefer` was honoured; not there where that is nothing.",
        "schema": {"type": "string"},
    }
}
PARAMETER = {
    "in": "header",
    "name": HEADER,
    "description": "`respond-async`: do not wait, answer 202. `wait=N`: wait N seconds at most; "
    "with both, 202 where it is not done by then (RFC 7240).",
    "schema": {"type": "string"},
    "example": "respond-async",
}
ASYNC_PARAMETER = PARAMETER | {
    "description": "`respond-async`: do not wait, answer 202. `wait=N`: 202 where it is not done "
    "in N seconds (RFC 7240).",
}
ASYNC = "respond-async"
# An empty value is none.
_ASYNC = re.compile(r"(?:^|,)\s*respond-async\s*(?:=\s*\"\"\s*)?(?:,|;|$)", re.IGNORECASE)
_WAIT = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?0*+([1-9][0-9]{0,5})\"?\s*(?:,|;|$)", re.IGNORECASE)
# Matches to the end of an unterminated string too: it can never be tried twice at one place.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NUMBER = re.compile(r'"[0-9]*"')


def wait_s(given: str | None) -> int | None:
    """Seconds that a caller with this header is willing to wait; None where it does not say.

    As the RFC has it, what cannot be understood is ignored, and the first of several counts.
    """
    found = _WAIT.search(_without_strings(given)) if given else None
    return int(found[1]) if found else None


def applied(given: str | None) -> dict[str, str]:
    """The header that says what of `given` was honoured; none where that is nothing."""
    wait = wait_s(given)
    honoured = [ASYNC] if is_async(given) else []
    honoured += [f"wait={wait}"] if wait else []
    return {APPLIED_HEADER: ", ".join(honoured)} if honoured else {}


def waited(given: str | None) -> dict[str, str]:
    """The same for an answer that was ready in time: only `wait` had a say in it."""
    wait = wait_s(given)
    return {APPLIED_HEADER: f"wait={wait}"} if wait else {}


def is_async(given: str | None) -> bool:
    """Whether a caller with this header would rather ask later than wait."""
    return bool(given and _ASYNC.search(_without_strings(given)))


def is_async_at_once(given: str | None) -> bool:
    """Whether a caller with this header would not even wait a little."""
    return is_async(given) and wait_s(given) is None


def _without_strings(given: str) -> str:
    """What is quoted separates and names nothing; numbers may be quoted, or nothing, and stay."""
    if '"' not in given:
        return given
    return _STRING.sub(lambda found: found[0] if _NUMBER.fullmatch(found[0]) else '"-"', given)
