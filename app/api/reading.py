"""API process. Reads bodies on the event loop, piece by piece as they come off the connection."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from app.api.gate import CUT_OFF, MAX_DRAINED_BYTES
from app.errors import BodyTooLarge, MalformedBody
from app.inference.expiry import Expiry

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

DISCONNECT = "http.disconnect"
# Who sends nothing of a body for so long is refused: a body that goes through Flask holds a thread,
# and a connection without a sender would be there for ever.
MAX_PAUSE_S = 60.0
# And who sends less than this for longer: as Apache's mod_reqtimeout has it.
MIN_BYTES_PER_S = 500


class Patience:
    """How long a piece of a body is waited for, inside `with`. For the requests of one event loop.

    `MalformedBody` where that is too long. One timer serves all, and nothing is made for each: most
    bodies are there at once.
    """

    def __init__(self, limit_s: float = MAX_PAUSE_S) -> None:
        self.limit_s = limit_s
        self._loop: asyncio.AbstractEventLoop | None = None
        # Comes with the loop.
        self._expiry: Expiry[asyncio.Task[Any]]

    def __enter__(self) -> None:
        loop = self._loop
        task: Any = asyncio.current_task(loop)
        if loop is None or task is None:
            # The first one here, or on another loop.
            loop = self._loop = asyncio.get_running_loop()
            task = asyncio.current_task(loop)
            self._expiry = Expiry(loop, self.limit_s, asyncio.Task.cancel)
        self._expiry.begin(task)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        task: Any = asyncio.current_task(self._loop)
        is_too_late = not self._expiry.end(task)
        # Whoever is still among those that wait was cancelled by somebody else.
        if kind is asyncio.CancelledError and is_too_late and not task.uncancel():
            raise MalformedBody(f"nothing more of it came for {self.limit_s:g} s") from None


class Pace:
    """How fast one body comes: `MalformedBody` where that is so slow that nobody waits for it.

    Each may take `limit_s`, and more as long as it keeps up `MIN_BYTES_PER_S`.
    """

    def __init__(self, limit_s: float) -> None:
        self._time = asyncio.get_running_loop().time
        self._late_at = self._time() + limit_s

    def keep(self, message: Message) -> None:
        """A piece of the body has come."""
        self._late_at += len(message.get("body", b"")) / MIN_BYTES_PER_S
        if self._time() > self._late_at:
            raise MalformedBody(f"it comes at less than {MIN_BYTES_PER_S} bytes/s")


def whole(receive: Receive, patience: Patience) -> Callable[[], Awaitable[Message]]:
    """`receive` for a2wsgi, which takes the end of a connection for that of the body."""
    is_whole = has_stopped = False
    pace = Pace(patience.limit_s)

    # granian's is awaitable, and no coroutine, which a2wsgi needs.
    async def receive_one() -> Message:
        nonlocal is_whole, has_stopped
        if is_whole:
            # All that is left to come is that the client leaves.
            return await receive()
        if has_stopped:
            # Who throws the rest away before the answer need not wait for it again.
            raise MalformedBody(CUT_OFF)
        has_stopped = True
        with patience:
            message = await receive()
        pace.keep(message)
        has_stopped = message["type"] == DISCONNECT
        if has_stopped:
            raise MalformedBody(CUT_OFF)
        is_whole = not message.get("more_body")
        return message

    return receive_one


async def gather(message: Message, receive: Receive, patience: Patience, max_bytes: int) -> bytes:
    """A body of several pieces, `message` being the first; `BodyTooLarge` or `MalformedBody`."""
    # Not `bytes`: a body of many small pieces would be copied with each of them.
    body = bytearray(message.get("body", b""))
    pace = Pace(patience.limit_s)
    while message.get("more_body") and len(body) <= max_bytes:
        with patience:
            message = await receive()
        pace.keep(message)
        body += message.get("body", b"")
    if len(body) > max_bytes:
        await _drain(message, receive, patience, pace)
        raise BodyTooLarge(max_bytes)
    if message["type"] == DISCONNECT:
        # The client may be gone, or there and wrong about its chunks: then it gets to see why.
        raise MalformedBody(CUT_OFF)
    return bytes(body)


async def discard(receive: Receive, patience: Patience) -> None:
    """Take a body that is refused unread off the connection, up to a bound."""
    with suppress(MalformedBody):  # it is refused for another reason already
        await _drain({"more_body": True}, receive, patience, Pace(patience.limit_s))


async def _drain(message: Message, receive: Receive, patience: Patience, pace: Pace) -> None:
    # The sender, who reads only when all is sent, gets to see the answer.
    drained = 0
    while message.get("more_body") and drained < MAX_DRAINED_BYTES:
        with patience:
            message = await receive()
        pace.keep(message)
        drained += len(message.get("body", b""))


async def left(receive: Receive) -> None:
    """Return when the client has left; its request was received."""
    while (await receive())["type"] != DISCONNECT:
        pass
