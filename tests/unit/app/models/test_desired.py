"""The desired state: no change is lost, none is undone, and all who look agree in the end."""

import threading

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import MessageRefused
from app.models import desired as document
from app.models.base import Ref
from app.models.desired import DESIRED_FILE, DESIRED_KEY, Desired, Rollout

V1, V2, V3 = (Ref("tiny", version) for version in ("v1", "v2", "v3"))
MADE_UP = Desired(active={"tiny": "v1"}, loaded=["tiny-v1"])


def rollout(ref="tiny-v3"):
    return Rollout(
        id="1",
        ref=ref,
        digest="0" * 64,
        device="cpu",
        activate=True,
        generation=2,
        started_at=0.0,
        deadline=1.0,
        hosts={},
    )


def activate(version):
    return lambda desired: msgspec.structs.replace(desired, active={"tiny": version})


def test_first_process_that_looks_makes_the_first_generation(redis_client):
    assert document.read(redis_client) is None

    found = document.agree(redis_client, MADE_UP)

    assert found == msgspec.structs.replace(MADE_UP, generation=1)
    assert document.read(redis_client) == found


def test_what_one_process_made_up_gives_way_to_what_is_there(redis_client):
    first = document.agree(redis_client, MADE_UP)

    found = document.agree(redis_client, Desired(active={"other": "v1"}))

    assert found == first


@pytest.mark.parametrize("there", [None, Desired(generation=3)], ids=["empty", "behind"])
def test_redis_without_the_newest_state_gets_the_copy(redis_client, there):
    copy = Desired(generation=4, active={"tiny": "v2"})
    if there is not None:
        redis_client.set(DESIRED_KEY, msgspec.json.encode(there))

    assert document.agree(redis_client, copy) == copy
    assert document.read(redis_client) == copy


def test_copy_that_is_behind_changes_nothing(redis_client):
    redis_client.set(DESIRED_KEY, msgspec.json.encode(Desired(generation=4)))

    found = document.agree(redis_client, Desired(generation=3, active={"tiny": "v2"}))

    assert found == document.read(redis_client) == Desired(generation=4)


def test_two_states_of_one_generation_are_settled_for_redis_by_a_new_one(redis_client):
    """Redis was emptied, an older copy came back and was changed: who has the other must learn."""
    redis_client.set(DESIRED_KEY, msgspec.json.encode(Desired(generation=4, loaded=["tiny-v1"])))

    found = document.agree(redis_client, Desired(generation=4, loaded=["tiny-v2"]))

    assert found == Desired(generation=5, loaded=["tiny-v1"])


def test_only_a_change_makes_a_new_generation_and_queues_what_goes_with_it(redis_client):
    document.agree(redis_client, MADE_UP)

    same = document.change(redis_client, MADE_UP, activate("v1"), lambda pipe: pipe.incr("told"))
    changed = document.change(redis_client, MADE_UP, activate("v2"), lambda pipe: pipe.incr("told"))

    assert (same.generation, changed.generation) == (1, 2)
    assert redis_client.get("told") == b"1"


def test_edit_that_raises_writes_nothing(redis_client):
    before = document.agree(redis_client, MADE_UP)

    with pytest.raises(ZeroDivisionError):
        document.change(redis_client, MADE_UP, lambda desired: 1 // 0)

    assert document.read(redis_client) == before


def test_changes_of_many_processes_at_once_are_all_kept(redis_server, redis_client):
    def ask(ref):
        with redis_server.client() as client:
            document.change(
                client,
                MADE_UP,
                lambda d: msgspec.structs.replace(d, loaded=sorted({*d.loaded, ref})),
            )

    refs = [f"tiny-v{number}" for number in range(2, 18)]
    threads = [threading.Thread(target=ask, args=[ref]) for ref in refs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = document.read(redis_client)
    assert found.generation == len(refs)
    assert set(found.loaded) == {"tiny-v1", *refs}


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["look", "change", "flush"])), max_size=25
)


@given(steps=STEPS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_generation_of_a_process_never_falls_and_all_agree_in_the_end(redis_client, steps):
    redis_client.flushall()
    copies = [MADE_UP, Desired(active={"tiny": "v2"}), MADE_UP]
    for number, (who, what) in enumerate(steps):
        before = copies[who]
        if what == "look":
            copies[who] = document.agree(redis_client, before)
        elif what == "change":
            copies[who] = document.change(redis_client, before, activate(f"v{number}"))
        else:
            redis_client.flushall()
        assert copies[who].generation >= before.generation
        if copies[who].generation == before.generation:
            assert copies[who] == before

    for _ in range(2):
        copies = [document.agree(redis_client, copy) for copy in copies]

    assert copies == [document.read(redis_client)] * 3


def test_copy_on_disk_is_read_back(tmp_path):
    state = Desired(generation=2, active={"tiny": "v1"}, rollouts={"tiny": rollout()})

    document.write_copy(tmp_path, state)

    assert document.read_copy(tmp_path) == state
    assert [file.name for file in tmp_path.iterdir()] == [DESIRED_FILE]


def test_newer_copy_is_never_replaced_by_an_older_state(tmp_path):
    document.write_copy(tmp_path, Desired(generation=5))

    document.write_copy(tmp_path, Desired(generation=4))

    assert document.read_copy(tmp_path).generation == 5


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b'{"\xff": 1}',
        b"[]",
        b'{"v": 2}',
        b'{"generation": 7, "more": 1}',
        b'{"generation": 7, "loaded": ["../etc-v1"]}',
        b'{"generation": 7, "active": {"tiny": ""}}',
        b'{"generation": 7, "previous": {"Tiny": "v1"}}',
    ],
)
def test_copy_that_is_none_of_ours_does_not_count_and_is_replaced(tmp_path, content):
    (tmp_path / DESIRED_FILE).write_bytes(content)

    assert document.read_copy(tmp_path) is None
    document.write_copy(tmp_path, Desired(generation=1))

    assert document.read_copy(tmp_path) == Desired(generation=1)


def test_copy_that_cannot_be_written_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        document.write_copy(tmp_path / "absent", Desired(generation=1))

    (tmp_path / DESIRED_FILE).mkdir()
    with pytest.raises(IsADirectoryError):
        document.write_copy(tmp_path, Desired(generation=1))
    assert [file.name for file in tmp_path.iterdir()] == [DESIRED_FILE]


def test_state_of_another_version_of_mlserve_is_not_overwritten(redis_client):
    redis_client.set(DESIRED_KEY, b'{"v": 2, "generation": 1}')

    with pytest.raises(MessageRefused, match="version 2"):
        document.agree(redis_client, Desired(generation=9))
    with pytest.raises(MessageRefused, match="version 2"):
        document.change(redis_client, Desired(generation=9), activate("v1"))

    assert redis_client.get(DESIRED_KEY) == b'{"v": 2, "generation": 1}'


def wanted(on_disk=(V1, V2, V3), watch=False, **state):
    return Desired(**state).wanted(on_disk, watch)


def test_active_and_coming_versions_are_wanted_even_where_they_are_not_on_disk():
    assert wanted(on_disk=(), active={"tiny": "v1"}) == {V1}
    assert wanted(on_disk=(), rollouts={"tiny": rollout()}) == {V3}


def test_previous_and_asked_for_versions_are_wanted_where_they_are_on_disk():
    state = {"active": {"tiny": "v3"}, "previous": {"tiny": "v1"}, "loaded": ["tiny-v2"]}

    assert wanted(**state) == {V1, V2, V3}
    assert wanted(on_disk=(V3,), **state) == {V3}


def test_watching_wants_all_on_disk_that_nobody_unloaded():
    state = {"active": {"tiny": "v1"}, "unloaded": ["tiny-v2"]}

    assert wanted(watch=True, **state) == {V1, V3}
    assert wanted(watch=False, **state) == {V1}


def test_unloaded_version_is_given_up_until_somebody_asks_for_it():
    assert Desired(unloaded=["tiny-v3"]).gives_up("tiny-v3")
    assert not Desired(unloaded=["tiny-v3"]).gives_up("tiny-v1")
    assert not Desired(unloaded=["tiny-v3"], rollouts={"tiny": rollout()}).gives_up("tiny-v3")
