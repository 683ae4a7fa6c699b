"""Floor. An ASGI handler that computes nothing, in the HTTP server that mlserve uses."""

from collections.abc import Awaitable, Callable
from typing import Any

ANSWER = b'{"label":"neutral","confidence":1.0}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Read the body and answer with a constant."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER, "more_body": False})
