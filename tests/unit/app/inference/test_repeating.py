"""What a thread of the gateway does again and again."""

import threading

from app.inference.repeating import RETRY_S, repeat

EVERY_S = 7.0


class Pauses(threading.Event):
    """Notes for how long it is waited for instead of waiting; ends it all after `most` times."""

    def __init__(self, closed, most):
        super().__init__()
        self.closed, self.most, self.told = closed, most, []

    def wait(self, timeout=None):
        self.told.append(timeout)
        if len(self.told) == self.most:
            self.closed.set()
        return False


def pauses(*steps):
    """Those between the steps, each of which returns a value or raises it."""
    closed = threading.Event()
    noted, left = Pauses(closed, len(steps)), list(steps)

    def step():
        result = left.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    repeat(step, EVERY_S, noted, closed)
    return noted.told


def test_step_may_say_when_it_is_due_again():
    assert pauses(None, 0.5, None) == [EVERY_S, 0.5, EVERY_S]


def test_step_that_fails_is_made_again_soon():
    assert pauses(ValueError("once"), None) == [RETRY_S, EVERY_S]
