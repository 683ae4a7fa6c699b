"""Counts of many processes add up to exactly what prometheus_client's own merge says."""

import logging
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from app.monitoring.counts.file import LENGTH, CountsFile
from app.monitoring.counts.merging import Merger

MODES = ("min", "livemin", "max", "sum", "livesum", "mostrecent", "livemostrecent", "all")
# Family, sample and names of labels that each kind of file may have.
SAMPLES = {
    "counter": [("sent", "sent_total", ("code",)), ("began", "began_total", ())],
    "summary": [("size", "size_sum", ("code",)), ("size", "size_count", ("code",))],
    "histogram": [
        ("took", "took_sum", ("code",)),
        ("took", "took_bucket", ("code", "le")),
        ("took", "took_bucket", ("le",)),
        # Counts of its own, as older versions wrote them.
        ("took", "took_count", ("code",)),
    ],
} | {f"gauge_{mode}": [(f"{mode}_now", f"{mode}_now", ("code", "pid"))] for mode in MODES}
GAUGES = st.sampled_from([f"gauge_{mode}" for mode in MODES])
# The last one has files outgrow the room that they begin with.
VALUES = ("", 'é"\\\n', "z" * 20_000)
BOUNDS = ("0.5", "1.0", "10000000.0", "+Inf")
NUMBERS = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 1e300, float("inf"), float("nan")])


@st.composite
def writes(draw):
    """(process, kind of file, key, value, time stamp)."""
    kind = draw(st.sampled_from(["counter", "summary"]) | st.just("histogram") | GAUGES)
    family, name, labels = draw(st.sampled_from(SAMPLES[kind]))
    told = [draw(st.sampled_from(BOUNDS if label == "le" else VALUES)) for label in labels]
    key = mmap_key(family, name, labels, told, f"Help of {family}.")
    stamp = draw(st.sampled_from([0.0, 1.0, 2.0]))
    return draw(st.sampled_from("123")), kind, key, draw(NUMBERS), stamp


ROUNDS = st.lists(st.tuples(st.lists(writes(), max_size=20), st.sampled_from(" 123")), max_size=4)


class Files:
    """The files of some processes, and what this project knows of them from look to look."""

    def __init__(self, directory):
        self._directory, self._known = directory, {}

    def write(self, process, kind, key, value, stamp=0.0):
        file = self._directory / f"{kind}_{process}.db"
        rows = MmapedDict(str(file))
        rows.write_value(key, value, stamp)
        rows.close()
        return file

    def remove(self, process):
        for file in self._directory.glob(f"*_{process}.db"):
            file.unlink()
            del self._known[str(file)]

    def current(self):
        paths = [str(file) for file in sorted(self._directory.iterdir())]
        self._known = {path: self._known.get(path) or CountsFile(path) for path in paths}
        return self._known


@settings(max_examples=40, deadline=None)
@given(ROUNDS)
def test_samples_are_those_of_the_library_while_files_grow_come_and_go(rounds):
    merger = Merger()
    with TemporaryDirectory() as name:
        files = Files(Path(name))
        for written, gone in rounds:
            for write in written:
                files.write(*write)
            current = files.current()

            merged = merger.merge(list(current.values()))

            # As text: then not a number is like itself, and 0.0 is not -0.0.
            assert repr(merged) == repr(list(MultiProcessCollector.merge(list(current))))
            files.remove(gone)


def told(merger, files):
    found = defaultdict(float)
    for family in merger.merge(files):
        for sample in family.samples:
            found[sample.name, *sample.labels.values()] = sample.value
    return found


def key(code):
    return mmap_key("sent", "sent_total", ["code"], [code], "Sent.")


@pytest.mark.parametrize("damage", ["cut", "garbled", "key"])
def test_rows_before_a_damaged_one_count_and_all_once_it_is_whole(tmp_path, caplog, damage):
    files = Files(tmp_path)
    path = files.write("1", "counter", key("200"), 5.0)
    (end,) = LENGTH.unpack_from(path.read_bytes())
    files.write("1", "counter", key("404"), 7.0)
    whole = path.read_bytes()
    damaged = {
        "cut": whole[: end + 30],
        "garbled": whole[:end] + b"\xff" * 4 + whole[end + 4 :],
        "key": whole[:end] + whole[end:].replace(b'"', b"\xff", 1),
    }
    path.write_bytes(damaged[damage])
    merger, file = Merger(), CountsFile(str(path))

    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert told(merger, [file]) == {("sent_total", "200"): 5.0}
    assert [record.message for record in caplog.records] == ["counts cannot be read"]

    with path.open("r+b") as opened:
        opened.write(whole)
    assert told(merger, [file]) == {("sent_total", "200"): 5.0, ("sent_total", "404"): 7.0}


@pytest.mark.parametrize("content", [b"\0" * 4096, b"\x08\0\0\0\0\0\0\0", b"\0\0", b"\xff" * 160])
def test_file_without_a_row_counts_nothing(tmp_path, content):
    path = tmp_path / "counter_1.db"
    path.write_bytes(content)

    assert told(Merger(), [CountsFile(str(path))]) == {}


def test_empty_file_can_not_be_read_yet(tmp_path):
    path = tmp_path / "counter_1.db"
    path.touch()

    with pytest.raises(ValueError, match="empty"):
        CountsFile(str(path))


def test_file_that_was_removed_says_what_it_said_last(tmp_path):
    files = Files(tmp_path)
    path = files.write("1", "counter", key("200"), 5.0)
    file = CountsFile(str(path))
    path.unlink()

    assert told(Merger(), [file]) == {("sent_total", "200"): 5.0}
