"""Whatever is wrong with a version: a swap to it moves nothing, says why, the old one answers."""

import errno
import os
import zipfile

import pytest

from app import fleet
from app.contract import Chunk
from app.errors import ModelError, ModelNotFound, UnsafePath
from app.inference import engine
from app.models import loader, rollout
from app.models.base import Artifact, Ref
from app.models.install import install
from app.settings import Limits
from tests.bad_versions import BAD, FILE, truncated
from tests.models import build_model, edit_manifest, skops_bytes

V3 = Ref("tiny", "v3")


def swap(part, ref=V3):
    """As an operator asks for it; (code and sentence of the refusal, outcome)."""
    try:
        begun = part.begin(ref)
    except ModelError as error:
        return error.code, str(error)
    part.step()
    part.step()
    ended = rollout.look(part.client, part.catalog, fleet.read(part.client), begun)
    assert (ended.state, ended.workers[0].status) == ("failed", "failed")
    return part.told(str(ref)).code, ended.workers[0].error


def answer(part, ref="tiny-v1"):
    chunk = Chunk(ref=ref, texts=["good day"], deadline=1e12, request_ids=["r1"])
    return engine.predict(part.registry.get(ref), chunk, max_batch_size=1, now=lambda: 0)


@pytest.mark.parametrize(("damage", "told"), BAD.items(), ids=[case.__name__ for case in BAD])
def test_swap_to_a_bad_version_moves_nothing_and_says_why(part, damage, told):
    part.step()
    before = answer(part).outcomes
    damage(part.root)

    code, sentence = swap(part)

    assert code == told[0]
    assert told[1] in sentence
    assert str(part.root) not in sentence
    assert part.desired().active == {"tiny": "v1"}
    assert part.desired().rollouts == {}
    assert answer(part).outcomes == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_disk_that_fails_while_it_is_read_moves_nothing(part, monkeypatch, number):
    part.step()
    build_model(part.root, version="v3", strength=2.0)

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(loader, "_read", fail)

    assert swap(part) == ("artifact_invalid", f"tiny-v3: {FILE}: {os.strerror(number)}")
    assert part.desired().active == {"tiny": "v1"}
    assert answer(part).outcomes


def test_memory_that_runs_out_during_the_load_moves_nothing(part, monkeypatch):
    part.step()
    build_model(part.root, version="v3", strength=2.0)

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(loader, "_read", fail)

    assert swap(part)[0] == "artifact_invalid"
    assert answer(part).outcomes


def test_artifacts_above_the_limit_move_nothing(part):
    part.step()
    large = Artifact(file=FILE, sha256="0" * 64, size_bytes=Limits().max_artifact_bytes + 1)
    edit_manifest(build_model(part.root, version="v3"), artifacts=[large])

    assert swap(part)[0] == "artifact_unsafe"


@pytest.mark.parametrize("text", ["tiny-v 3", "Tiny-v3", "../tiny-v3", "tiny-..", "-v3", "a" * 65])
def test_name_that_is_not_allowed_names_no_version(part, text):
    part.step()

    with pytest.raises((UnsafePath, ModelNotFound)):
        swap(part, Ref.parse(text))


def test_archive_with_a_path_out_of_it_never_becomes_a_version(part, tmp_path):
    part.step()
    path = build_model(tmp_path / "elsewhere", version="v3")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.write(path / "model.yaml", "model.yaml")
        archive.write(path / FILE, f"../../{FILE}")

    with pytest.raises(UnsafePath):
        install(tmp_path / "evil.zip", part.root, Limits())
    with pytest.raises(ModelNotFound):
        swap(part)


def test_reason_is_told_after_the_swap_until_the_version_is_mended(part):
    part.step()
    truncated(part.root)
    swap(part)
    assert part.step() == ["tiny-v1", "tiny-v2"]
    assert part.told("tiny-v3").status == fleet.FAILED

    (part.root / "tiny/v3" / FILE).write_bytes(skops_bytes())
    part.step()

    assert "tiny-v3" not in {model.ref for model in part.registry.held()}
