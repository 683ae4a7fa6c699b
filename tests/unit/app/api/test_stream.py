"""The lines of a body that comes piece by piece: their numbers, and what blank ones cost."""

import time

import pytest

from app.api.stream import PIECE_BYTES, lines


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"a\nb\n", [(1, b"a"), (2, b"b")]),
        (b"\n\n \n a\n\t\n\r\n\n  b", [(4, b" a"), (8, b"  b")]),
        (b"a\r\n\r\nb\r\n \x0b", [(1, b"a\r"), (3, b"b\r")]),
        (b" \n\n ", []),
    ],
)
def test_lines_keep_their_numbers_behind_blank_ones(body, found, piece_bytes):
    starts = range(0, len(body), piece_bytes)

    assert list(lines((body[at : at + piece_bytes] for at in starts), 10)) == found


@pytest.mark.parametrize("blank", [b"\n", b" \n"])
def test_a_hundred_megabytes_of_blank_lines_are_quick(blank):
    pieces = [b"a\n" + blank * (PIECE_BYTES // len(blank))] * 1600
    started = time.process_time()

    assert len(list(lines(iter(pieces), 10))) == 1600
    assert time.process_time() - started < 1
