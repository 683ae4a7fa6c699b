"""API process. Turns the bytes of a request into checked values, or says what is wrong with them.

In this order: content type, length, UTF-8, JSON, shape, content. Accepting is fast (msgspec, no
marshmallow); a body that is refused there is given to its marshmallow schema, which words the
errors. Invariant: no body causes a 5xx, and no message quotes a text.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn, Protocol, TypeVar

import msgspec
from marshmallow import Schema, ValidationError
from werkzeug.http import parse_options_header

from app.errors import BodyTooLarge, InvalidFields, MalformedBody, UnsupportedMediaType
from app.settings import Limits

MAX_DEPTH = 32
# Of a body that is too large so much is read and thrown away, so that the sender, who reads only
# when all is sent, gets to see the answer instead of a reset connection.
MAX_DRAINED_BYTES = 16 << 20
DRAIN_STEP_BYTES = 1 << 16
MAX_REPORTED_FIELDS = 20
# What marshmallow's Dict puts around what is wrong with a pair.
SIDES_OF_A_PAIR = {"key", "value"}
# Of a name and one string.
QUOTES_OF_TWO_STRINGS = 4

JSON_TYPE = "application/json"
CUT_OFF = "it ends before all of it has come"
BODY_ERRORS = (MalformedBody, UnsupportedMediaType, BodyTooLarge, InvalidFields)

# Matches to the end of an unterminated string too: it can never be tried twice at one place.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKET = re.compile(r"[\[{\]}]")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Body(Protocol):
    """A msgspec Struct that is a request body, with the marshmallow schema that documents it."""

    __struct_fields__: ClassVar[tuple[str, ...]]

    @classmethod
    def schema(cls, limits: Limits) -> Schema:
        """Accepts the same bodies, and can say why it refuses one."""
        ...

    def is_clean(self, limits: Limits) -> bool:
        """Whether the values are fine where their types are."""
        ...


B = TypeVar("B", bound=Body)


class Gate:
    """Reads request bodies under one set of limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._schemas: dict[type[Any], Schema] = {}
        self._decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}

    @property
    def max_body_bytes(self) -> int:
        """The largest body."""
        return self._limits.max_body_bytes

    def read(self, environ: Mapping[str, Any]) -> bytes:
        """The body of a WSGI request, if it may be JSON and is not too large."""
        check_type(environ.get("CONTENT_TYPE", ""), environ.get("HTTP_CONTENT_ENCODING"))
        return _read(environ, self.max_body_bytes)

    def decode(self, body: bytes, kind: type[B]) -> B:
        """A body as `kind`; raises the errors in `BODY_ERRORS`."""
        found = self._decode_simple(body, kind)
        return self.check(parse_json(body), kind) if found is None else found

    def check(self, raw: Any, kind: type[B]) -> B:
        """Decoded JSON as `kind`; `InvalidFields` names each wrong field by its dotted path."""
        try:
            body = msgspec.convert(raw, kind)
        except (msgspec.ValidationError, UnicodeEncodeError):
            # msgspec raises the latter for an unknown field with a lone surrogate in its name.
            raise self._refusal(raw, kind) from None
        if not body.is_clean(self._limits):
            raise self._refusal(raw, kind)
        return body

    def _decode_simple(self, body: bytes, kind: type[B]) -> B | None:
        """A body as most are, in half of the time; None where all has to be looked at.

        msgspec checks all that `parse_json` does but names that come twice, for which there must be
        two members, and depth, which no `kind` has. Of two strings without a comma between them the
        second one is no name.
        """
        parts = body.split(b'"', QUOTES_OF_TWO_STRINGS + 1)
        if len(parts) != QUOTES_OF_TWO_STRINGS + 1 or b"," in parts[2] or b"\\" in body:
            return None
        if (decoder := self._decoders.get(kind)) is None:
            decoder = self._decoders[kind] = msgspec.json.Decoder(kind)
        try:
            found: B = decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        return found if found.is_clean(self._limits) else None

    def _refusal(self, raw: Any, kind: type[B]) -> InvalidFields:
        if kind not in self._schemas:
            self._schemas[kind] = kind.schema(self._limits)
        shortened = _shorten(raw, kind.__struct_fields__, self._limits.max_batch_texts + 1)
        try:
            self._schemas[kind].load(shortened)
        except ValidationError as error:
            # It holds the frames that hold it, and would have to wait for the collector.
            error.__traceback__ = None
            return InvalidFields(dict(_flatten(error.messages)))
        return InvalidFields({"body": ["Not valid."]})


def parse_json(body: bytes) -> Any:
    """Strict JSON: UTF-8, no repeated keys, no NaN, bounded depth; `MalformedBody` otherwise."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedBody(f"byte {error.start} is not UTF-8") from None
    if text.startswith("\ufeff"):
        raise MalformedBody("it starts with a byte order mark")
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _check_depth(text)
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        problem = error.msg.removesuffix(" at")
        raise MalformedBody(f"{problem} at {place}" if text.strip() else "it is empty") from None
    except ValueError:
        # The one other thing that the decoder raises: CPython's limit on the digits of an integer.
        raise MalformedBody("a number has too many digits") from None


def check_type(given: str, encoding: str | None) -> None:
    """`UnsupportedMediaType` where a body with these headers is not plain JSON in UTF-8."""
    if given != JSON_TYPE and content_type(given) != (JSON_TYPE, True):
        raise UnsupportedMediaType(given[:100], "application/json in UTF-8")
    if encoding and encoding.strip().lower() != "identity":
        raise UnsupportedMediaType(encoded(JSON_TYPE, encoding), "it without Content-Encoding")


def content_type(given: str) -> tuple[str, bool]:
    """The media type of a `Content-Type` in lower case, and whether it is in UTF-8."""
    kind, options = parse_options_header(given)
    return kind.lower(), options.get("charset", "utf-8").lower() in ("utf-8", "utf8")


def encoded(kind: str, encoding: str) -> str:
    """How a refusal names a body of a content type and a `Content-Encoding`."""
    return f"{kind} with Content-Encoding: {encoding[:50]}"


def _read(environ: Mapping[str, Any], max_bytes: int) -> bytes:
    length, stream = environ.get("CONTENT_LENGTH"), environ["wsgi.input"]
    if not length:
        # Chunked: only a server that ends the stream with the body may be asked for "the rest".
        body: bytes = stream.read(max_bytes + 1) if environ.get("wsgi.input_terminated") else b""
        if len(body) > max_bytes:
            _drain(stream, MAX_DRAINED_BYTES)
            raise BodyTooLarge(max_bytes)
        return body
    if not (length.isascii() and length.isdigit()):
        raise MalformedBody("its Content-Length is not a number")
    # Leading zeros and thousands of digits are digits too.
    size = int(length) if len(length) < 20 else MAX_DRAINED_BYTES + 1
    if size > max_bytes:
        _drain(stream, size)
        raise BodyTooLarge(max_bytes)
    body = stream.read(size)
    if len(body) < size:
        raise MalformedBody(CUT_OFF)
    return body


def _drain(stream: Any, size: int) -> None:
    left = size if size <= MAX_DRAINED_BYTES else 0
    while left > 0 and (read := len(stream.read(min(left, DRAIN_STEP_BYTES)))):
        left -= read


def _check_depth(text: str) -> None:
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > MAX_DEPTH:
            raise MalformedBody(f"it is nested deeper than {MAX_DEPTH} levels")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedBody("an object has the same key twice")
    return found


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise MalformedBody("a number is too large")
    return value


def _no_constant(name: str) -> NoReturn:
    raise MalformedBody(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant
)


def _shorten(raw: Any, known: tuple[str, ...], max_items: int) -> Any:
    # So many wrong fields or texts as fit into a body would cost a second to find and report.
    if not isinstance(raw, dict):
        return raw
    unknown = [name for name in raw if name not in known][:MAX_REPORTED_FIELDS]
    return {
        # Of a list that is too long, its length is what matters.
        name: ["-"] * max_items if isinstance(value, list) and len(value) > max_items else value
        for name, value in raw.items()
        if name in known or name in unknown
    }


def _flatten(found: Any, path: str = "") -> list[tuple[str, list[str]]]:
    if isinstance(found, list):
        return [(path or "body", found)]
    if "." in path and found.keys() <= SIDES_OF_A_PAIR:
        return [(path, [problem for side in found.values() for problem in side])]
    rows: list[tuple[str, list[str]]] = []
    for name, inner in found.items():
        rows += _flatten(inner, ".".join(filter(None, [path, _readable(name)])))
    return rows[:MAX_REPORTED_FIELDS]


def _readable(name: object) -> str:
    # A field's name is the caller's too: it may be a text, or not even encodable.
    if name == "_schema":
        return ""
    return str(name) if _NAME.fullmatch(str(name)) else "(a name that is not shown)"
