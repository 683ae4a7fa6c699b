"""API process. What `POST /jobs` is sent: one JSON document, or NDJSON that is read line by line.

NDJSON is never in memory as a whole: a text is checked, handed on and forgotten. Both may be gzip.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from app.api.gate import JSON_TYPE, Gate, content_type, encoded, parse_json
from app.api.schemas.jobs import JobOptions, Line
from app.api.schemas.predict import text_problem
from app.api.stream import bounded, inflate, lines, pieces
from app.errors import (
    InvalidFields,
    JobTooLarge,
    JsonTooLarge,
    MalformedBody,
    UnsupportedMediaType,
)
from app.jobs.records import MAX_CUSTOM_ID_CHARS
from app.settings import Settings

NDJSON_TYPE = "application/x-ndjson"
KINDS = "application/json or application/x-ndjson in UTF-8, as it is or with gzip"
# JSON may spell a character in as many bytes.
MAX_CHAR_BYTES = 12
LINE_SLACK_BYTES = 1024
MAX_REPORTED_TEXTS = 20


class Item(NamedTuple):
    """A text that was checked."""

    text: str
    custom_id: str | None = None


class Intake:
    """One submission: its `options`, and its texts, which are to be read once."""

    def __init__(
        self, environ: Mapping[str, Any], query: Mapping[str, str], gate: Gate, settings: Settings
    ) -> None:
        self._gate, self._limits = gate, settings.limits
        is_ndjson, is_gzip = _kind(environ)
        self._digest = hashlib.sha256(repr((is_ndjson, sorted(query.items()))).encode())
        max_bytes = settings.jobs.max_bytes if is_ndjson else settings.limits.max_body_bytes
        # What is sent counts too: gzip can go on for ever and hold nothing.
        sent = bounded(pieces(environ), max_bytes)
        self._content = self._hashed(bounded(inflate(sent) if is_gzip else sent, max_bytes))
        self._items: Iterator[Item]
        if is_ndjson:
            self.options = gate.check(_parsed(query), JobOptions)
            self._items = self._lines()
        else:
            document = self._document(max_bytes, query)
            self._items = self._texts(document)
            self.options = gate.check(document, JobOptions)

    def items(self) -> Iterator[Item]:
        """Every text in its order; raises what is wrong with the first one that is wrong."""
        return self._items

    def fingerprint(self) -> str:
        """The same for equal submissions, however compressed; reads what is left of the body."""
        for _ in self._content:
            pass
        return self._digest.hexdigest()

    def _hashed(self, content: Iterator[bytes]) -> Iterator[bytes]:
        for piece in content:
            self._digest.update(piece)
            yield piece

    def _lines(self) -> Iterator[Item]:
        max_chars = self._limits.max_text_chars + MAX_CUSTOM_ID_CHARS
        for number, line in lines(self._content, max_chars * MAX_CHAR_BYTES + LINE_SLACK_BYTES):
            try:
                checked = self._gate.check(parse_json(line), Line)
            except MalformedBody as error:
                raise MalformedBody(f"line {number}: {error.args[0]}") from None
            except InvalidFields as error:
                raise InvalidFields({f"line {number}": [str(error)]}) from None
            yield Item(checked.text, checked.custom_id)

    def _document(self, max_bytes: int, query: Mapping[str, str]) -> dict[str, Any]:
        if query:
            unknown = {name: ["Belongs into the JSON body."] for name in list(query)[:1]}
            raise InvalidFields(unknown)
        try:
            document = parse_json(b"".join(self._content))
        except JobTooLarge:
            raise JsonTooLarge(max_bytes) from None
        if not isinstance(document, dict):
            raise InvalidFields({"body": ["Not an object."]})
        return document

    def _texts(self, document: dict[str, Any]) -> Iterator[Item]:
        if "texts" not in document:
            raise InvalidFields({"texts": ["Missing data for required field."]})
        texts = document.pop("texts")
        if not isinstance(texts, list):
            raise InvalidFields({"texts": ["Not a valid list."]})
        max_chars = self._limits.max_text_chars
        found = ((at, _problem(text, max_chars)) for at, text in enumerate(texts))
        wrong = {f"texts.{at}": [problem] for at, problem in found if problem}
        if wrong:
            raise InvalidFields(dict(list(wrong.items())[:MAX_REPORTED_TEXTS]))
        return map(Item, texts)


def _problem(text: Any, max_chars: int) -> str | None:
    return text_problem(text, max_chars) if isinstance(text, str) else "Not a valid string."


def _kind(environ: Mapping[str, Any]) -> tuple[bool, bool]:
    given = environ.get("CONTENT_TYPE", "")
    encoding = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    kind, is_utf8 = content_type(given)
    if kind not in (JSON_TYPE, NDJSON_TYPE) or not is_utf8:
        raise UnsupportedMediaType(given[:100], KINDS)
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise UnsupportedMediaType(encoded(kind, encoding), KINDS)
    return kind == NDJSON_TYPE, encoding.endswith("gzip")


def _parsed(query: Mapping[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = dict(query)
    if "metadata" in options:
        try:
            options["metadata"] = parse_json(options["metadata"].encode())
        except (MalformedBody, UnicodeEncodeError):
            raise InvalidFields({"metadata": ["Not valid JSON."]}) from None
    return options
