"""Shared. Reads what one process counts, a file of prometheus_client's, again and again.

The file stays mapped. Rows are only ever appended and never change their keys, so each key is
parsed once, and all numbers are read at once, without a call of the system.
"""

import logging
import mmap
import os
import struct
from dataclasses import dataclass
from functools import lru_cache

import msgspec

logger = logging.getLogger(__name__)

Labels = tuple[tuple[str, str], ...]
# Value and time stamp of each row of a file, one after the other.
Numbers = tuple[float, ...]

# A file begins with the bytes that are in use, and padding. A row has the length of its key, the
# key, which is padded to a multiple of 8 with the length, a value and a time stamp.
LENGTH = struct.Struct("i")
HEADER_BYTES = 8
NUMBERS_BYTES = 16
# Many times those that the processes of a machine have together.
MAX_KEYS = 2048


@dataclass(eq=False, slots=True)
class Row:
    """What a value counts; `name` is that of the sample, `labels` are sorted.

    Files share those that they have in common, most of the time: they are told apart by identity.
    """

    family: str
    name: str
    labels: Labels
    help_text: str


_KEY = msgspec.json.Decoder(tuple[str, str, dict[str, str], str])


class CountsFile:
    """One file of a process; raises `OSError` where it is gone, `ValueError` while it is empty."""

    def __init__(self, path: str) -> None:
        self._path, self._bytes = path, _mapped(path)
        # As in gauge_min_<process>.db; only a gauge says how those of several become one.
        self.kind, *mode, self.pid = os.path.basename(path).removesuffix(".db").split("_")
        self.mode = mode[0] if mode else ""
        self.rows: list[Row] = []
        self._end, self._format, self._is_damaged = HEADER_BYTES, f"{HEADER_BYTES}x", False
        self._numbers = struct.Struct(self._format)

    def read(self) -> Numbers:
        """The numbers of `rows`, which those that were appended belong to from now on."""
        try:
            (used,) = LENGTH.unpack_from(self._bytes)
            if used > self._end:
                self._append(used)
        except (struct.error, msgspec.MsgspecError, UnicodeDecodeError, FileNotFoundError):
            # What comes before it counts, and it may yet be whole when it is looked at again.
            if not self._is_damaged:
                logger.warning("counts cannot be read", extra={"file": self._path})
            self._is_damaged = True
        return self._numbers.unpack_from(self._bytes) if self.rows else ()

    def _append(self, used: int) -> None:
        if used > len(self._bytes):
            self._bytes = _mapped(self._path)
        try:
            while self._end < used:
                self._append_row(min(used, len(self._bytes)))
        finally:
            self._numbers = struct.Struct(self._format)

    def _append_row(self, end: int) -> None:
        (length,) = LENGTH.unpack_from(self._bytes, self._end)
        key_at = self._end + LENGTH.size
        numbers_at = key_at + length + 8 - (length + LENGTH.size) % 8
        if length < 0 or numbers_at + NUMBERS_BYTES > end:
            raise struct.error("a row that ends after the file")
        self.rows.append(_row(self._bytes[key_at : key_at + length]))
        self._format += f"{numbers_at - self._end}x2d"
        self._end = numbers_at + NUMBERS_BYTES


# Processes have the same keys.
@lru_cache(MAX_KEYS)
def _row(key: bytes) -> Row:
    family, name, labels, help_text = _KEY.decode(key)
    return Row(family, name, tuple(sorted(labels.items())), help_text)


def _mapped(path: str) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
