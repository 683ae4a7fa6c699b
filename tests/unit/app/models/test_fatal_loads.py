"""Loads that ended their process are remembered by those that come after it."""

import os
import time

import pytest

from app.errors import ArtifactInvalid, LoadEndedWorker
from app.models.fatal_loads import KEPT_S, MAX_ENDS, REFUSED_S, FatalLoads
from tests.dying_loads import die, loading

DIGEST, OTHER_DIGEST = 64 * "a", 64 * "b"
V1 = ("tiny-v1", DIGEST)


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "state" / "loads"


def in_s(seconds):
    """A clock that is ahead."""
    return lambda: time.time() + seconds


def load(directory, ref="tiny-v1", digest=DIGEST, now=time.time):
    """A load that comes through."""
    with FatalLoads(directory, now).watched(ref, digest):
        assert len(list(directory.iterdir())) >= 1
    return True


def is_refused(directory, now=time.time):
    try:
        return not load(directory, now=now)
    except LoadEndedWorker:
        return True


def age(directory, seconds):
    for path in directory.iterdir():
        os.utime(path, (time.time() - seconds,) * 2)


def test_load_that_ended_three_processes_in_a_row_is_not_tried(directory):
    die(directory, *V1, times=MAX_ENDS)

    with pytest.raises(LoadEndedWorker) as caught, FatalLoads(directory).watched(*V1):
        pytest.fail("it was tried")

    ref, ends, _ = caught.value.args
    assert (ref, ends) == ("tiny-v1", MAX_ENDS)
    assert "tiny-v1: loading it ended its worker 3 times in a row" in str(caught.value)


def test_refusal_says_when_the_version_is_tried_again(directory):
    die(directory, *V1, times=MAX_ENDS)
    for path in directory.iterdir():
        os.utime(path, (0, 9 * 3600))

    with pytest.raises(LoadEndedWorker, match="tried again after 10:00 UTC"):
        load(directory, now=lambda: 9.5 * 3600)


def test_load_that_ended_two_processes_is_tried_and_coming_through_makes_up_for_them(directory):
    die(directory, *V1, times=MAX_ENDS - 1)

    assert load(directory)

    assert not list(directory.iterdir())


def test_refused_version_is_tried_again_once_in_every_hour(directory):
    die(directory, *V1, times=MAX_ENDS)
    assert is_refused(directory, now=in_s(REFUSED_S - 60))
    age(directory, REFUSED_S + 60)

    die(directory, *V1)

    assert is_refused(directory)


def test_refused_version_that_comes_through_an_hour_later_has_made_up_for_all(directory):
    die(directory, *V1, times=MAX_ENDS)

    assert load(directory, now=in_s(REFUSED_S + 60))

    assert not list(directory.iterdir())


def test_version_is_as_any_other_after_a_day(directory):
    die(directory, *V1, times=MAX_ENDS)
    age(directory, KEPT_S + 60)

    die(directory, *V1, times=MAX_ENDS - 1)

    assert not is_refused(directory)


def test_processes_that_are_killed_all_at_once_count_as_one(directory):
    with loading(directory, *V1, number=MAX_ENDS + 1):
        pass

    assert len(list(directory.iterdir())) == MAX_ENDS + 1
    assert not is_refused(directory)


def test_loads_under_way_count_for_nothing(directory):
    die(directory, *V1, times=MAX_ENDS - 1)

    with loading(directory, *V1, number=2):
        assert load(directory)
        assert len(list(directory.iterdir())) == 2


@pytest.mark.parametrize("other", [("tiny-v1", OTHER_DIGEST), ("tiny-v2", DIGEST)])
def test_other_files_and_other_versions_are_tried(directory, other):
    die(directory, *V1, times=MAX_ENDS)

    assert load(directory, *other)


def test_nothing_is_kept_of_files_that_were_replaced(directory):
    die(directory, *V1, times=MAX_ENDS)

    load(directory, "tiny-v1", OTHER_DIGEST)

    assert not list(directory.iterdir())


def test_what_is_left_of_a_version_that_is_gone_is_removed_after_a_day(directory):
    die(directory, "gone-v1", DIGEST)
    load(directory)
    assert len(list(directory.iterdir())) == 1
    age(directory, KEPT_S + 60)

    load(directory)

    assert not list(directory.iterdir())


def test_error_of_a_load_is_no_end_of_its_process(directory):
    with pytest.raises(ArtifactInvalid), FatalLoads(directory).watched(*V1):
        raise ArtifactInvalid("tiny-v1", "why")

    assert not list(directory.iterdir())


def test_process_that_was_asked_to_end_leaves_nothing_of_its_loads(directory):
    fatal_loads = FatalLoads(directory)

    with fatal_loads.watched(*V1):
        fatal_loads.leave()
        assert not list(directory.iterdir())
    with fatal_loads.watched(*V1):
        assert not list(directory.iterdir())


def test_directory_that_cannot_be_used_is_told_once_and_keeps_no_version_away(tmp_path, caplog):
    (tmp_path / "file").touch()
    fatal_loads, loaded = FatalLoads(tmp_path / "file" / "loads"), []

    for ref in ("tiny-v1", "tiny-v2"):
        with fatal_loads.watched(ref, DIGEST):
            loaded.append(ref)

    assert loaded == ["tiny-v1", "tiny-v2"]
    assert [record.message for record in caplog.records] == ["fatal loads are not remembered"]
