"""CLI. The texts of a file on their way into a job: NDJSON, packed as it is read."""

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from urllib.parse import urlencode

import msgspec

from cli.records import Record, Source

CUSTOM_ID = "custom_id"
GZIP_WINDOW = 16 + zlib.MAX_WBITS
# Sent one by one, small pieces would cost more than their bytes.
PIECE_BYTES = 1 << 16
# As an error of the service begins that is about a text.
LINE = re.compile(r"line (\d+)(?=: )")


@dataclass
class Upload:
    """What is sent of a file. `is_sent` chooses rows; `skipped` counts the others afterwards."""

    source: Source
    is_sent: Callable[[Record], bool]
    with_ids: bool = False
    skipped: int = field(default=0, init=False)

    @property
    def is_repeatable(self) -> bool:
        """Whether it can be sent again."""
        return self.source.is_repeatable

    def pieces(self) -> Iterator[bytes]:
        """The body, compressed; raises what `Source.records` raises."""
        packer = zlib.compressobj(wbits=GZIP_WINDOW)
        piece = bytearray()
        for line in self._lines():
            piece += packer.compress(line)
            if len(piece) >= PIECE_BYTES:
                yield bytes(piece)
                piece.clear()
        yield bytes(piece) + packer.flush()

    def located(self, detail: str) -> str:
        """What the service says of a line of the body, said of the line of the source instead.

        A source that cannot be read again has only the number of the text that was sent.
        """
        if (found := LINE.match(detail)) is None:
            return detail
        return f"{self._place(int(found[1]))}{detail[found.end() :]}"

    def _place(self, number: int) -> str:
        if self.is_repeatable:
            sent = (record for record in self.source.records() if self.is_sent(record))
            record = next(islice(sent, number - 1, None), None)
            if record is not None:
                return f"line {record.line}"
        return f"text {number}"

    def _lines(self) -> Iterator[bytes]:
        self.skipped = 0
        for record in self.source.records():
            if self.is_sent(record):
                yield msgspec.json.encode(self._line(record)) + b"\n"
            else:
                self.skipped += 1

    def _line(self, record: Record) -> dict[str, Any]:
        line = {"text": record.text}
        custom_id = record.columns.get(CUSTOM_ID)
        return line | {CUSTOM_ID: custom_id} if self.with_ids and custom_id else line


@dataclass(frozen=True)
class Wanted:
    """What a job is asked for besides its texts."""

    model: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    webhook: str | None = None

    @property
    def query(self) -> str:
        """The same as the query of a URL, with its question mark; empty where there is nothing."""
        metadata = msgspec.json.encode(self.metadata).decode() if self.metadata else None
        values = {
            "model_version": self.model,
            "metadata": metadata,
            "webhook": self.webhook,
        }
        given = {name: value for name, value in values.items() if value is not None}
        return f"?{urlencode(given)}" if given else ""
