"""The Prefer header: how long a caller says that it will wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.prefer import applied, is_async_at_once, wait_s


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("wait=1", 1),
        ("wait=600", 600),
        ("wait=02", 2),
        ('wait="000000000600"', 600),
        ("WAIT=2", 2),
        ('wait="3"', 3),
        (" wait = 4 ", 4),
        ("respond-async, wait=5", 5),
        ("wait=6, respond-async", 6),
        ("wait=7; foo=bar", 7),
        ("wait=8, wait=9", 8),
        ('foo="a, wait=1, b", wait=10', 10),
        (r'foo="a\", wait=1, \"b"; c="\\", wait=11', 11),
        ('foo="1", wait="12"; bar=","', 12),
    ],
)
def test_wait_is_understood_as_rfc_7240_spells_it(given, expected):
    assert wait_s(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        *("", "wait", "wait=", "wait=0", "wait=00", "wait=-1", "wait=1.5", "wait=1e3", "wait=soon"),
        *("wait=9999999", "await=3", "foo=wait", "x;wait=3", "wait=\u0663", "wait=1 2"),
        *('foo="a, wait=3, b"', 'foo="a, wait=3', 'wait="3', 'wait=3"', 'wait="3, 4"'),
    ],
)
def test_what_cannot_be_understood_is_ignored(given):
    assert wait_s(given) is None


@pytest.mark.parametrize(
    ("given", "at_once", "honoured"),
    [
        ("respond-async", True, "respond-async"),
        ("respond-async, wait=2", False, "respond-async, wait=2"),
        ('respond-async="", wait=2', False, "respond-async, wait=2"),
        ('respond-async = ""; a=b', True, "respond-async"),
        ('respond-async="no"', False, None),
        ('respond-async="1"', False, None),
        ("wait=2", False, "wait=2"),
        ("wait=soon, respond-async", True, "respond-async"),
        ("handling=lenient", False, None),
        ('foo="a, respond-async, b"', False, None),
        ('foo="respond-async"', False, None),
        ('foo="a, respond-async', False, None),
        (r'foo="a\", respond-async"', False, None),
        ('foo="a, wait=3", respond-async', True, "respond-async"),
        (None, False, None),
    ],
)
def test_caller_is_told_what_was_honoured(given, at_once, honoured):
    assert is_async_at_once(given) is at_once
    assert applied(given).get("Preference-Applied") == honoured


def test_no_header_is_no_preference():
    assert wait_s(None) is None


@given(st.text())
def test_any_header_is_a_number_of_seconds_or_nothing(header):
    found = wait_s(header)

    assert found is None or 1 <= found <= 999_999


@given(st.integers(1, 999_999), st.sampled_from(["", "respond-async, ", "a=b,"]))
def test_every_whole_number_of_seconds_is_found(seconds, before):
    assert wait_s(f"{before}wait={seconds}") == seconds
