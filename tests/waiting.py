"""Waiting in tests: for a condition with a deadline, never for a fixed time."""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], timeout_s: float = 10.0, every_s: float = 0.02) -> T:
    """Return the first true value of `condition`; `AssertionError` after `timeout_s`."""
    pause = threading.Event()
    for _ in range(max(1, round(timeout_s / every_s))):
        if value := condition():
            return value
        pause.wait(every_s)
    raise AssertionError(f"not true within {timeout_s} s: {getattr(condition, '__name__', '?')}")
