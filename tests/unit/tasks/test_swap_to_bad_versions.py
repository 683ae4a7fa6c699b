"""Whatever is wrong with a version: a swap to it moves nothing, says why, and the old one answers.

What the loader does with each is in tests/unit/app/models/test_loader.py.
"""

import errno
import io
import os
import zipfile

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.tree import DecisionTreeClassifier

from app import fleet
from app.contract import Chunk
from app.errors import ModelError, ModelNotFound, UnsafePath
from app.inference import engine
from app.models import loader, rollout
from app.models.base import Artifact, Ref
from app.models.install import install
from app.settings import Limits
from tests.models import build_model, edit_manifest, skops_bytes, train

V3 = Ref("tiny", "v3")
FILE = "model.skops"


def truncated(root):
    path = build_model(root, version="v3")
    (path / FILE).write_bytes(skops_bytes()[:-100])


def flipped(root):
    content = bytearray(skops_bytes())
    content[len(content) // 2] ^= 1
    (build_model(root, version="v3") / FILE).write_bytes(content)


def untrusted_type(root):
    tree = skops.io.dumps(train(classifier=DecisionTreeClassifier()))
    build_model(root, version="v3", files={FILE: tree})


def zip_bomb(root):
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", bytes(40 << 20))
    build_model(root, version="v3", files={FILE: bomb.getvalue()})


def pickle(root):
    content = io.BytesIO()
    joblib.dump(train(), content)
    build_model(root, version="v3", files={"m.joblib": content.getvalue()}, format="joblib")


def missing_file(root):
    (build_model(root, version="v3") / FILE).unlink()


def other_library(root):
    build_model(root, version="v3", libraries={"scikit-learn": "0.1.2"})


def nan_weights(root):
    broken = train()
    broken[-1].coef_[0, 0] = np.nan
    build_model(root, version="v3", files={FILE: skops.io.dumps(broken)})


def link_for_a_file(root):
    path = build_model(root, version="v3")
    (path / FILE).rename(root / "elsewhere")
    (path / FILE).symlink_to(root / "elsewhere")


def link_for_the_directory(root):
    (root / "tiny/v3").symlink_to(build_model(root / "elsewhere", version="v3"))


def path_in_the_manifest(root):
    path = build_model(root, version="v3")
    text = (path / "model.yaml").read_text()
    (path / "model.yaml").write_text(text.replace(FILE, f"../v1/{FILE}"))


def pipe_for_a_file(root):
    path = build_model(root, version="v3")
    (path / FILE).unlink()
    os.mkfifo(path / FILE)


def wrong_golden_texts(root):
    golden = build_model(root, version="v3") / "golden.jsonl"
    golden.write_text('{"text": "good day", "label": "negative"}\n')


def no_golden_texts(root):
    (build_model(root, version="v3") / "golden.jsonl").write_bytes(b"\xff")


def no_manifest(root):
    (build_model(root, version="v3") / "model.yaml").unlink()


BAD = {
    truncated: ("artifact_mismatch", "bytes, the manifest says"),
    flipped: ("artifact_mismatch", "sha256"),
    untrusted_type: ("artifact_unsafe", "Untrusted types"),
    zip_bomb: ("artifact_unsafe", "tiny-v3"),
    pickle: ("artifact_unsafe", "limits.allow_pickle is false"),
    missing_file: ("artifact_invalid", "No such file"),
    other_library: ("library_mismatch", "written with scikit-learn 0.1.2, this process has"),
    nan_weights: ("artifact_invalid", "NaN"),
    link_for_a_file: ("artifact_invalid", "symbolic links"),
    link_for_the_directory: ("unsafe_path", "symbolic link"),
    path_in_the_manifest: ("manifest_invalid", "artifacts[0].file"),
    pipe_for_a_file: ("artifact_unsafe", "not a regular file"),
    wrong_golden_texts: ("golden_mismatch", "expected 'negative'"),
    no_golden_texts: ("golden_mismatch", "line 1 of golden.jsonl"),
    no_manifest: ("manifest_invalid", "the file is missing"),
}


def swap(part, ref=V3):
    """As an operator asks for it; (code and sentence of the refusal, outcome)."""
    part.catalog.entries(fresh=True)
    try:
        begun = rollout.begin(
            part.client,
            part.catalog,
            part.catalog.get(ref),
            activate=True,
            now=part.now,
            timeout_s=10,
        )
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
