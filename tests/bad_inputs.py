"""What callers must not send, and the answer that each gets: for the test client and the socket."""

import json
from typing import NamedTuple

from app.settings import Limits

LIMITS = Limits()
JSON = {"Content-Type": "application/json"}


class BadInput(NamedTuple):
    """A request and the status and code of its refusal; `fields` are those that it names."""

    name: str
    body: bytes
    status: int
    code: str
    fields: tuple[str, ...] = ()
    path: str = "/predict"
    method: str = "POST"
    headers: dict[str, str] = JSON
    chunked: bool = False


def _fields(name: str, fields: str, body: object, path: str = "/predict") -> BadInput:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return BadInput(name, raw, 422, "invalid_fields", tuple(fields.split(" and ")), path)


def _malformed(name: str, body: bytes) -> BadInput:
    return BadInput(name, body, 400, "malformed_body")


def _media(name: str, **headers: str) -> BadInput:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return BadInput(name, b'{"text": "a"}', 415, "unsupported_media_type", headers=JSON | named)


BATCH = "/batch-predict"
UNSHOWN = "(a name that is not shown)"
TOO_LONG = "x" * (LIMITS.max_text_chars + 1)
TOO_LARGE = b'{"text": "' + b"x" * LIMITS.max_body_bytes + b'"}'

MALFORMED = [
    _malformed("empty body", b""),
    _malformed("only blanks", b"  \n "),
    _malformed("not json", b"text=hello"),
    _malformed("cut off", b'{"text": "hel'),
    _malformed("trailing garbage", b'{"text": "a"} x'),
    _malformed("two documents", b'{"text": "a"}{"text": "b"}'),
    _malformed("trailing comma", b'{"text": "a",}'),
    _malformed("single quotes", b"{'text': 'a'}"),
    _malformed("comment", b'{"text": "a" /* b */}'),
    _malformed("raw line break in a string", b'{"text": "a\nb"}'),
    _malformed("invalid utf-8", b'{"text": "\xff\xfe"}'),
    _malformed("surrogate encoded in utf-8", b'{"text": "\xed\xa0\x80"}'),
    _malformed("overlong utf-8", b'{"text": "\xc0\xaf"}'),
    _malformed("utf-16", '{"text": "a"}'.encode("utf-16")),
    _malformed("byte order mark", b'\xef\xbb\xbf{"text": "a"}'),
    _malformed("duplicate key", b'{"text": "a", "text": "b"}'),
    _malformed("duplicate key spelled with an escape", b'{"text": "a", "te\\u0078t": "b"}'),
    _malformed("NaN", b'{"text": "a", "top_k": NaN}'),
    _malformed("Infinity", b'{"text": "a", "top_k": -Infinity}'),
    _malformed("number beyond a double", b'{"text": "a", "top_k": 1e999}'),
    _malformed("integer of 5000 digits", b'{"text": "a", "top_k": ' + b"9" * 5000 + b"}"),
    _malformed("100000 open arrays", b'{"text": ' + b"[" * 100_000),
    _malformed("100000 nested arrays", b"[" * 100_000 + b"]" * 100_000),
    _malformed("50000 nested objects", b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    _malformed("33 levels", b"[" * 33 + b"]" * 33),
    _malformed("many quotes, never closed", b'{"text": "[' + b'\\"[' * 100_000),
]
MEDIA = [
    _media("form", Content_Type="application/x-www-form-urlencoded"),
    _media("text/plain", Content_Type="text/plain"),
    _media("json in another charset", Content_Type="application/json; charset=latin-1"),
    _media("gzip", Content_Encoding="gzip"),
    _media("unknown encoding", Content_Encoding="x"),
    BadInput("no type", b'{"text": "a"}', 415, "unsupported_media_type", headers={}),
]
FIELDS = [
    _fields("an array", "body", ["a"]),
    _fields("a string", "body", "a"),
    _fields("null", "body", None),
    _fields("no text", "text", {}),
    _fields("null as text", "text", {"text": None}),
    _fields("number as text", "text", {"text": 1}),
    _fields("boolean as text", "text", {"text": True}),
    _fields("array as text", "text", {"text": ["a"]}),
    _fields("empty text", "text", {"text": ""}),
    _fields("blank text", "text", {"text": " \t\n\u00a0\u2003"}),
    _fields("too long a text", "text", {"text": TOO_LONG}),
    _fields("NUL", "text", {"text": "a\0b"}),
    _fields("escape character", "text", {"text": "\x1b[31m"}),
    _fields("C1 control", "text", {"text": "a\x85"}),
    _fields("delete character", "text", {"text": "a\x7f"}),
    _fields("lone high surrogate", "text", b'{"text": "a\\ud800"}'),
    _fields("lone low surrogate", "text", b'{"text": "\\udc00a"}'),
    _fields("surrogates in the wrong order", "text", b'{"text": "\\udc00\\ud800"}'),
    _fields("unknown field", "foo", {"text": "a", "foo": 1}),
    _fields("field in other case", "Text and text", {"Text": "a"}),
    _fields("surrogate as field", UNSHOWN, b'{"text": "a", "\\ud800": 1}'),
    _fields("a text as field", UNSHOWN, {"text": "a", "my private text": 1}),
    _fields("number as model", "model_version", {"text": "a", "model_version": 2}),
    _fields("empty model", "model_version", {"text": "a", "model_version": ""}),
    _fields("path as model", "model_version", {"text": "a", "model_version": "../../etc/passwd"}),
    _fields("NUL in model", "model_version", {"text": "a", "model_version": "v1\0"}),
    _fields("surrogate in model", "model_version", b'{"text": "a", "model_version": "\\ud800"}'),
    _fields("long model", "model_version", {"text": "a", "model_version": "a" * 200}),
    _fields("top_k 0", "top_k", {"text": "a", "top_k": 0}),
    _fields("top_k too large", "top_k", {"text": "a", "top_k": 10**30}),
    _fields("top_k as text", "top_k", {"text": "a", "top_k": "3"}),
    _fields("top_k as boolean", "top_k", {"text": "a", "top_k": True}),
    _fields("top_k as float", "top_k", {"text": "a", "top_k": 1.5}),
    _fields("no texts", "texts", {"texts": []}, BATCH),
    _fields("101 texts", "texts", {"texts": ["a"] * 101}, BATCH),
    _fields("250000 texts", "texts", {"texts": [""] * 250_000}, BATCH),
    _fields("one text for texts", "texts", {"texts": "a"}, BATCH),
    _fields("null among texts", "texts.1", {"texts": ["a", None]}, BATCH),
    _fields("number among texts", "texts.0", {"texts": [1, "a"]}, BATCH),
    _fields("blank among texts", "texts.2", {"texts": ["a", "b", " "]}, BATCH),
    _fields("NUL among texts", "texts.0 and texts.1", {"texts": ["\0", "\0"]}, BATCH),
    _fields("top_k for a batch", "top_k", {"texts": ["a"], "top_k": 1}, BATCH),
    _fields("30 levels in a field", "text", b'{"text":' + b"[" * 30 + b"]" * 30 + b"}"),
]
OTHERS = [
    BadInput("too large a body", TOO_LARGE, 413, "body_too_large"),
    BadInput("too large a chunked body", TOO_LARGE, 413, "body_too_large", chunked=True),
    BadInput("unknown model", b'{"text": "a", "model_version": "v9"}', 404, "model_not_found"),
    BadInput("unknown version", b"", 404, "model_not_found", (), "/models/sentiment-v9", "GET"),
    BadInput("path as ref", b"", 404, "model_not_found", (), "/models/..%00%0d%0a", "GET"),
    BadInput("long ref", b"", 404, "model_not_found", (), "/models/" + "a" * 5000, "GET"),
    BadInput("ref that is not utf-8", b"", 404, "model_not_found", (), "/models/%ff%fe", "GET"),
    BadInput("unknown path", b"", 404, "not_found", (), "/nothing", "GET"),
    BadInput("path with two slashes", b"", 404, "not_found", (), "/models//v1", "GET"),
    BadInput("path traversal", b"", 404, "not_found", (), "/docs/assets/../../app.py", "GET"),
    BadInput("GET on predict", b"", 405, "method_not_allowed", (), "/predict", "GET"),
    BadInput("a method that nobody knows", b"", 405, "method_not_allowed", (), "/predict", "FOO"),
]
BAD_INPUTS = [*MALFORMED, *MEDIA, *FIELDS, *OTHERS]
