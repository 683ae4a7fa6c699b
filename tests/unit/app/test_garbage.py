"""The collector of a process that answers requests."""

import gc
import sys
import weakref

import pytest

from app.garbage import (
    MAX_THRESHOLD,
    MIN_THRESHOLD,
    OLDEST_EVERY,
    SURVIVORS_EVERY,
    give_back,
    settle,
)
from app.models.attempt import resident_bytes

MB = 1 << 20


class Node:
    """Can be part of a cycle."""

    def __init__(self):
        self.me = self


@pytest.fixture(autouse=True)
def collector():
    """Left as it was found, with everything of before out of sight."""
    threshold, was_enabled = gc.get_threshold(), gc.isenabled()
    callbacks = list(gc.callbacks)
    # Only what the tests ask for is collected.
    gc.disable()
    yield
    gc.freeze()
    gc.callbacks[:] = callbacks
    gc.set_threshold(*threshold)
    if was_enabled:
        gc.enable()


def test_what_is_there_is_not_visited_any_more():
    before = gc.get_freeze_count()
    kept = [Node() for _ in range(10)]

    settle()

    assert gc.get_freeze_count() >= before + len(kept)
    seen = {id(one) for one in gc.get_objects()}
    assert not any(id(node) in seen for node in kept)


def test_what_comes_later_is_visited():
    settle()

    node = Node()

    assert any(one is node for one in gc.get_objects())


def test_collector_looks_less_often():
    settle()

    assert gc.get_threshold() == (MIN_THRESHOLD, SURVIVORS_EVERY, OLDEST_EVERY)


def test_looks_that_find_nothing_become_rare():
    settle()
    settle()  # as often as models are loaded

    gc.collect(0)
    assert gc.get_threshold() == (2 * MIN_THRESHOLD, SURVIVORS_EVERY, OLDEST_EVERY)
    for _ in range(20):
        gc.collect(0)
    assert gc.get_threshold()[0] == MAX_THRESHOLD


def test_what_leaves_cycles_is_collected_in_small_pieces():
    settle()
    for _ in range(20):
        gc.collect(0)

    for _ in range(MIN_THRESHOLD):
        Node()
    gc.collect(0)

    assert gc.get_threshold()[0] == MIN_THRESHOLD


def test_new_cycle_is_freed_before_it_is_out_of_sight():
    node = Node()
    gone = weakref.ref(node)
    del node

    settle()

    assert gone() is None


def test_cycle_that_is_out_of_sight_is_freed_when_everything_is_looked_at():
    node = Node()
    gone = weakref.ref(node)
    settle()
    del node
    gc.collect()
    assert gone() is not None

    settle(collect=True)
    assert gone() is None


def test_new_cycle_is_found_after_settling():
    settle()
    node = Node()
    gone = weakref.ref(node)
    del node

    gc.collect()

    assert gone() is None


@pytest.mark.skipif(sys.platform != "linux", reason="malloc_trim is glibc's")
def test_memory_of_many_small_objects_goes_back_to_the_system():
    give_back()  # what other tests have left would be used again
    before = resident_bytes()
    held = [[bytes(1000)] for _ in range(60_000)]
    held.append(held)
    grown = resident_bytes()
    last = [bytes(1000) for _ in range(100)]  # above all of them: the heap cannot shrink

    del held
    give_back()

    assert grown > before + 50 * MB
    assert resident_bytes() < before + 20 * MB
    assert last
