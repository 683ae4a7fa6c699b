"""What is told of the machine needs nothing that the benchmark itself does not."""

from benchmarks.machine import describe


def test_machine_without_wrk_is_described_all_the_same(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    assert describe()["wrk"] == "-"


def test_machine_with_wrk_tells_its_version(monkeypatch, tmp_path):
    wrk = tmp_path / "wrk"
    wrk.write_text("#!/bin/sh\necho 'wrk 4.1.0 [epoll] Copyright (C) 2012 Will Glozer'\n")
    wrk.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert describe()["wrk"] == "wrk 4.1.0"
