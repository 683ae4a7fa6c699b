"""API process. The body of a WSGI request piece by piece: as it was sent, inflated, and in lines.

Each step holds one piece in memory, whatever the whole has. What is too much, or cut off, raises.
"""

import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from app.api.door import MAX_UNREAD_DIGITS
from app.api.gate import CUT_OFF, DRAIN_STEP_BYTES, MAX_DRAINED_BYTES
from app.errors import InvalidFields, JobTooLarge, MalformedBody

PIECE_BYTES = 1 << 16
# With the header and checksum of gzip.
GZIP_WINDOW = 16 + zlib.MAX_WBITS
CHUNKED = "HTTP_TRANSFER_ENCODING"
DAMAGED = "what it holds is not gzip"

# The end of a line, with the blank ones behind it: gzip holds hundreds of millions of them in a few
# kilobytes, and one by one they would take seconds.
_END = re.compile(rb"\n(\s*\n)?")


def pieces(environ: Mapping[str, Any]) -> Iterator[bytes]:
    """A body as it comes; `MalformedBody` where it ends before its length."""
    stream, length = environ["wsgi.input"], environ.get("CONTENT_LENGTH") or ""
    if not length:
        # Only a server that ends the stream with the body may be asked for "the rest".
        if environ.get("wsgi.input_terminated"):
            while piece := stream.read(PIECE_BYTES):
                yield piece
        return
    if not (length.isascii() and length.isdigit()) or len(length) > 20:
        raise MalformedBody("its Content-Length is not a number")
    left = int(length)
    while left > 0:
        piece = stream.read(min(left, PIECE_BYTES))
        if not piece:
            raise MalformedBody(CUT_OFF)
        left -= len(piece)
        yield piece


def inflate(compressed: Iterator[bytes]) -> Iterator[bytes]:
    """What gzip, of one or several members, was given; in pieces of `PIECE_BYTES` at most."""
    inflater = zlib.decompressobj(GZIP_WINDOW)
    has_begun = False
    for piece in compressed:
        while piece:
            if inflater.eof:
                inflater, has_begun = zlib.decompressobj(GZIP_WINDOW), False
            try:
                found = inflater.decompress(piece, PIECE_BYTES)
            except zlib.error:
                raise MalformedBody(DAMAGED) from None
            has_begun = True
            piece = inflater.unconsumed_tail or inflater.unused_data
            if found:
                yield found
    # What came with the last piece may still be inside.
    while has_begun and not inflater.eof and (found := inflater.decompress(b"", PIECE_BYTES)):
        yield found
    if has_begun and not inflater.eof:
        raise MalformedBody(CUT_OFF)


def bounded(given: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    """The same pieces; `JobTooLarge` after `max_bytes`."""
    total = 0
    for piece in given:
        total += len(piece)
        if total > max_bytes:
            raise JobTooLarge(max_bytes, "bytes")
        yield piece


def lines(given: Iterator[bytes], max_bytes: int) -> Iterator[tuple[int, bytes]]:
    """(number from 1 on, content) of every line that is not blank.

    `InvalidFields` where one has more than `max_bytes`.
    """
    number, rest = 1, b""
    for piece in given:
        *ended, rest = _END.split(rest + piece)
        for line, blank in zip(ended[::2], ended[1::2], strict=True):
            if line and not line.isspace():
                yield number, _short(line, number, max_bytes)
            number += 1 + (blank.count(b"\n") if blank else 0)
        _short(rest, number, max_bytes)
    if rest and not rest.isspace():
        yield number, rest


def drain(environ: Mapping[str, Any]) -> None:
    """Read what is left and throw it away, up to a bound; nothing of what the server takes itself.

    A sender who reads only when all is sent gets to see the answer instead of a reset connection.
    """
    is_large = len(environ.get("CONTENT_LENGTH") or "") > MAX_UNREAD_DIGITS
    # Only a server that ends the stream with the body may be asked for "the rest".
    if not environ.get("wsgi.input_terminated") or not (is_large or CHUNKED in environ):
        return
    left = MAX_DRAINED_BYTES
    with suppress(MalformedBody):  # nobody is there any more
        while left > 0 and (read := len(environ["wsgi.input"].read(DRAIN_STEP_BYTES))):
            left -= read


def _short(line: bytes, number: int, max_bytes: int) -> bytes:
    if len(line) > max_bytes:
        raise InvalidFields({f"line {number}": [f"Has more than {max_bytes} bytes."]})
    return line
