"""The budget of a version is written while workers serve it: they load it again by themselves."""

import threading

from app.models.base import Batching, Ref
from app.models.catalog import read_manifest
from app.models.manifest_file import set_max_batch_tokens
from tests.waiting import eventually


def test_tuned_version_is_loaded_again_by_itself_and_no_prediction_is_lost(
    operator, machines, name
):
    for machine in machines:
        machine.add(name, "v1", batching=Batching(cost="padded_tokens"))
    operator.rollouts.wait(operator.rollouts.load(Ref(name, "v1")), 30)
    folders = [machine.models_dir / name / "v1" for machine in machines]
    before = read_manifest(folders[0]).digest
    expected = operator.predict(f"{name}-v1")
    answers, done = [], threading.Event()

    def ask_on():
        while not done.is_set():
            answers.append(operator.predict(f"{name}-v1"))

    def digests():
        return {model.digest for model in operator.held(f"{name}-v1").values()}

    asking = threading.Thread(target=ask_on)
    asking.start()
    try:
        assert digests() == {before}
        for folder in folders:
            set_max_batch_tokens(folder, 2048)
        tuned = read_manifest(folders[0]).digest
        eventually(lambda: digests() == {tuned}, timeout_s=15)
    finally:
        done.set()
        asking.join()

    assert tuned != before
    assert operator.statuses(f"{name}-v1") == ["ready", "ready"]
    assert len(answers) > 10
    assert answers == [expected] * len(answers)
