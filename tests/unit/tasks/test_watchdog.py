"""When the watchdog ends a process, on a clock set by hand."""

import subprocess
import sys
from dataclasses import dataclass

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from app.settings import Worker
from tasks.watchdog import EXIT_HUNG, Watchdog

LIMITS = Worker(hard_limit_s=30.0, stall_limit_s=15.0)


@dataclass
class Scene:
    """Slots, queue and clock as a test wants them."""

    has_free_slot: bool = True
    oldest_started_at: float | None = None
    last_taken_at: float = 0.0
    work: int = 0
    at_s: float = 0.0
    redis_is_away: bool = False

    def waiting(self) -> int:
        if self.redis_is_away:
            raise redis.ConnectionError
        return self.work

    def watchdog(self, limits=LIMITS) -> Watchdog:
        return Watchdog(self, limits, self.waiting, now=lambda: self.at_s)


def test_idle_worker_lives():
    scene = Scene()
    watchdog = scene.watchdog()

    assert watchdog.verdict() is None
    scene.at_s = 1e6
    assert watchdog.verdict() is None


def test_task_over_its_hard_limit_ends_the_worker():
    scene = Scene(has_free_slot=False, oldest_started_at=0.0, at_s=30.0)
    watchdog = scene.watchdog()
    assert watchdog.verdict() is None

    scene.at_s = 30.1

    assert "worker.hard_limit_s = 30" in watchdog.verdict()


@pytest.mark.parametrize("error", [None, redis.ConnectionError("away")], ids=repr)
def test_last_words_are_said_and_do_not_keep_the_process(error, monkeypatch):
    said, ended = [], []

    def last_words():
        said.append("words")
        if error:
            raise error

    monkeypatch.setattr("tasks.watchdog.end_process", ended.append)
    scene = Scene(has_free_slot=False, oldest_started_at=0.0, at_s=31.0)
    Watchdog(scene, LIMITS, scene.waiting, now=lambda: scene.at_s, last_words=last_words).step()

    assert said == ["words"]
    assert len(ended) == 1


def test_waiting_work_that_nobody_takes_ends_the_worker():
    scene = Scene(work=3, at_s=100.0)
    watchdog = scene.watchdog()
    assert watchdog.verdict() is None

    scene.at_s = 115.1

    assert "worker.stall_limit_s = 15" in watchdog.verdict()


@pytest.mark.parametrize(
    "change",
    [
        {"last_taken_at": 110.0},
        {"work": 0},
        {"has_free_slot": False},
    ],
    ids=["a task was taken", "the queue is empty", "all slots are busy"],
)
def test_worker_that_makes_progress_lives(change):
    scene = Scene(work=3, at_s=100.0)
    watchdog = scene.watchdog()
    watchdog.verdict()

    for name, value in change.items():
        setattr(scene, name, value)
    scene.at_s = 115.1

    assert watchdog.verdict() is None


def test_time_without_redis_is_not_a_stall():
    scene = Scene(work=3, at_s=100.0)
    watchdog = scene.watchdog()
    watchdog.verdict()
    scene.redis_is_away, scene.at_s = True, 130.0
    with pytest.raises(redis.ConnectionError):
        watchdog.verdict()

    scene.redis_is_away = False

    assert watchdog.verdict() is None
    scene.at_s = 145.1
    assert watchdog.verdict() is not None


@settings(deadline=None)
@given(gaps_s=st.lists(st.floats(0.0, 14.9), max_size=30))
def test_worker_that_takes_something_within_every_limit_is_never_ended(gaps_s):
    scene = Scene(work=1)
    watchdog = scene.watchdog()
    for gap_s in gaps_s:
        scene.at_s += gap_s
        assert watchdog.verdict() is None
        scene.last_taken_at = scene.at_s


def test_looks_often_enough_for_its_limits():
    assert Scene().watchdog().every_s == 1.0
    assert Scene().watchdog(Worker(hard_limit_s=0.4)).every_s == pytest.approx(0.1)


def test_end_of_the_process_shows_all_stacks():
    program = (
        "from tasks.watchdog import end_process\ndef hanging(): end_process('test')\nhanging()"
    )

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert ended.returncode == EXIT_HUNG
    assert "in hanging" in ended.stderr
