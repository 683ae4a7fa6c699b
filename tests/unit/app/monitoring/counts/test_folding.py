"""Counts of processes that have ended are added up in one place, and none is lost or doubled."""

import fcntl
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from app.monitoring.counts import folding
from app.monitoring.counts.folding import MergedCollector, claim, fold

COUNTER = mmap_key("work", "work_total", ["kind"], ["a"], "Work.")
BUCKET = mmap_key("took", "took_bucket", ["le"], ["1.0"], "Took.")
GAUGE = mmap_key("began", "began", [], [], "Began.")


class Processes:
    """Owners and files as processes leave them; those that live hold their locks."""

    def __init__(self, directory):
        self.directory, self._locks = directory, {}

    def live(self, pid, kind="worker"):
        file = (self.directory / f"owner_{pid}").open("wb")
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(f"{kind} ".encode())
        file.flush()
        self._locks[pid] = file

    def count(self, pid, amount=1.0):
        self.write(f"counter_{pid}", COUNTER, amount)

    def write(self, stem, key, amount):
        values = MmapedDict(str(self.directory / f"{stem}.db"))
        values.write_value(key, values.read_value(key)[0] + amount, 0.0)
        values.close()

    def leave(self, pid):
        self._locks[pid].write(b"left")
        self.kill(pid)

    def kill(self, pid):
        self._locks.pop(pid).close()

    def close(self):
        for pid in list(self._locks):
            self.kill(pid)

    def files(self):
        return sorted(file.name for file in self.directory.glob("*.db"))


@pytest.fixture
def processes(tmp_path):
    processes = Processes(tmp_path)
    yield processes
    processes.close()


def read(directory, collector=None):
    """Samples as {(name, label values): value}."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in (collector or MergedCollector(directory)).collect()
        for sample in family.samples
    }


def test_counts_of_the_dead_stay_and_their_files_go(processes, tmp_path):
    for pid in (1, 2, 3):
        processes.live(pid)
        processes.count(pid, pid)
        processes.write(f"histogram_{pid}", BUCKET, 1)
    processes.kill(1)
    processes.kill(2)

    counted = read(tmp_path)

    assert counted["work_total", "a"] == 6
    assert counted["took_bucket", "1.0"] == 3
    assert processes.files() == [
        "counter_3.db", "counter_folded-1.db", "histogram_3.db", "histogram_folded-1.db"
    ]  # fmt: skip
    assert read(tmp_path) == counted


def test_thousand_restarts_leave_no_more_than_one_file_for_each_kind(processes, tmp_path):
    for pid in range(1000, 1100):
        processes.live(pid)
        processes.count(pid)
        processes.kill(pid)
        if pid % 10 == 0:
            fold(tmp_path)
    fold(tmp_path)

    assert processes.files() == ["counter_folded-11.db"]
    assert len(list(tmp_path.iterdir())) == 3
    assert read(tmp_path)["work_total", "a"] == 100


def test_process_that_was_not_asked_to_end_is_counted_as_lost_once(processes, tmp_path):
    for pid, kind in ((1, "worker"), (2, "worker"), (3, "api"), (4, "api")):
        processes.live(pid, kind)
        processes.count(pid)
    for pid in (1, 2, 3):
        processes.kill(pid)
    processes.leave(4)

    for _ in range(2):
        counted = read(tmp_path)

    lost = {key[1]: count for key, count in counted.items() if "lost" in key[0]}
    assert lost == {"worker": 2, "api": 1}


def test_live_gauges_of_the_dead_are_gone_and_the_least_is_kept(processes, tmp_path):
    for pid in (1, 2):
        processes.live(pid)
        processes.write(f"gauge_livesum_{pid}", GAUGE, 5)
        processes.write(f"gauge_min_{pid}", mmap_key("least", "least", [], [], "Least."), pid)
    processes.kill(1)

    counted = read(tmp_path)

    assert counted["began",] == 5
    assert counted["least",] == 1


def test_pid_that_comes_again_counts_from_nothing(processes, tmp_path):
    processes.live(1)
    processes.count(1, 5)
    processes.kill(1)
    fold(tmp_path)
    processes.live(1)
    processes.count(1, 2)

    assert read(tmp_path)["work_total", "a"] == 7


def test_collector_that_looked_before_counts_what_others_folded_and_who_came_since_once(
    processes, tmp_path
):
    collector, before = MergedCollector(tmp_path), []
    for amount in (5, 2, 4):
        processes.live(1)
        processes.count(1, amount)
        before.append(read(tmp_path, collector)["work_total", "a"])
        processes.kill(1)
        fold(tmp_path)
        assert read(tmp_path, collector)["work_total", "a"] == before[-1]

    assert before == [5, 7, 11]


def test_own_files_are_never_folded(tmp_path, processes):
    owner = claim(tmp_path, "api")

    fold(tmp_path)
    owner.leave()
    fold(tmp_path)

    assert len(list(tmp_path.glob("owner_*"))) == 1


@pytest.mark.parametrize("cut_at", [1, 2])
def test_fold_that_is_cut_short_changes_no_count(processes, tmp_path, monkeypatch, cut_at):
    """After the new files are written, and after they count but before the old ones are gone."""
    for pid in (1, 2):
        processes.live(pid)
        processes.count(pid)
        processes.kill(pid)
    name = {1: "_commit", 2: "_clean"}[cut_at]
    real, calls = getattr(folding, name), []

    def cut(*args):
        calls.append(args)
        if len(calls) == cut_at:
            raise KeyboardInterrupt
        real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(folding, name, cut)
        with pytest.raises(KeyboardInterrupt):
            fold(tmp_path)

    counted = read(tmp_path)
    assert counted["work_total", "a"] == 2
    assert counted["mlserve_processes_lost_total", "worker"] == 2
    assert processes.files() == [f"counter_folded-{cut_at if cut_at == 1 else 1}.db"]


def test_file_that_was_just_made_and_one_that_is_damaged_fail_nothing(processes, tmp_path):
    processes.live(1)
    processes.count(1)
    (tmp_path / "counter_2.db").touch()
    processes.live(3)
    (tmp_path / "counter_3.db").write_bytes(b"\xff\xff\xff\x7f" * 40)
    processes.kill(3)

    assert read(tmp_path)["work_total", "a"] == 1


def test_somebody_who_is_frozen_while_folding_freezes_no_scrape(processes, tmp_path):
    processes.live(1)
    processes.count(1)
    with (tmp_path / folding.LOCK_FILE).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        began = time.monotonic()

        assert read(tmp_path)["work_total", "a"] == 1

    assert time.monotonic() - began < 10 * folding.MAX_LOCK_WAIT_S


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("count"), st.integers(1, 4)),
        st.tuples(st.just("kill"), st.integers(1, 4)),
        st.just(("fold", 0)),
    ),
    max_size=25,
)


@given(steps=STEPS)
def test_sum_is_what_was_counted_whoever_dies_and_folds_when(steps, tmp_path_factory):
    directory = tmp_path_factory.mktemp("metrics")
    processes, counted, live = Processes(directory), 0, set()
    for step, pid in steps:
        if step == "fold":
            fold(directory)
        elif step == "kill" and pid in live:
            processes.kill(pid)
            live.discard(pid)
        elif step == "count":
            if pid not in live:
                # As `claim` does: what a process of the same pid left is folded first.
                fold(directory)
                processes.live(pid)
                live.add(pid)
            processes.count(pid)
            counted += 1
    try:
        assert read(directory).get(("work_total", "a"), 0) == counted
    finally:
        processes.close()
