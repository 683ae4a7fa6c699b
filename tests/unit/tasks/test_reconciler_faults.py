"""Passes of one host while Redis, or the copy on disk, is gone or not understood."""

import redis

from app.models import desired as document
from app.models.base import Ref
from app.models.desired import DESIRED_FILE, DESIRED_KEY

V2 = Ref("tiny", "v2")


def test_emptied_redis_is_filled_again(part):
    part.step()
    part.begin(V2)
    part.step()
    before = part.desired()
    part.client.flushall()

    part.step()

    assert part.desired() == before


def test_copy_on_disk_brings_back_what_served_before_everything_stopped(make_part, part):
    part.step()
    part.begin(V2)
    part.step()
    part.step()
    part.client.flushall()

    restarted = make_part(is_open=False)

    assert restarted.step() == ["tiny-v2"]
    assert restarted.desired().active == {"tiny": "v2"}


def test_state_of_another_version_of_mlserve_is_left_alone_and_told_once(part, caplog):
    part.client.set(DESIRED_KEY, b'{"v": 2}')

    assert part.step() == ["tiny-v1", "tiny-v2"]
    part.step()

    assert part.client.get(DESIRED_KEY) == b'{"v": 2}'
    assert not (part.root / DESIRED_FILE).exists()
    assert [record.cause for record in caplog.records if "not understood" in record.message] == [
        "message refused: version 2, this process speaks 1"
    ]


def test_copy_that_cannot_be_written_is_told_once_and_harms_nothing(part, caplog):
    (part.root / DESIRED_FILE).mkdir()

    assert part.step() == ["tiny-v1", "tiny-v2"]
    part.step()

    assert [r.cause for r in caplog.records if "no copy" in r.message] == ["Is a directory"]


def gone(*_):
    raise redis.ConnectionError("gone")


def test_pass_that_cannot_tell_the_fleet_goes_on(part, monkeypatch):
    monkeypatch.setattr(part.reconciler, "_beat", gone)

    assert part.step() == ["tiny-v1", "tiny-v2"]


def test_without_redis_the_copy_has_to_do(make_part, part, monkeypatch):
    part.step()
    part.begin(V2)
    part.step()
    part.step()
    monkeypatch.setattr(document, "agree", gone)

    alone = make_part(is_open=False)

    assert alone.step() == ["tiny-v2"]
    assert alone.reconciler.step() is None
