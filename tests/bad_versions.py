"""Versions with something wrong, one way each: `BAD` maps what writes it to what is told of it.

    damage(root, "v3")      # writes root/tiny/v3

What the loader does with each is in tests/unit/app/models/test_loader*.py.
"""

import io
import os
import re
import signal
import zipfile

import numpy as np
import skops.io
from sklearn.tree import DecisionTreeClassifier

from tests.models import build_model, build_pickle, skops_bytes, train

FILE = "model.skops"


class Blocked:
    """A pickle that opens a pipe which nobody writes to: loading it hangs until somebody does."""

    def __init__(self, pipe):
        self.pipe = pipe

    def __reduce__(self):
        return open, (self.pipe,)


class Fatal:
    """A pickle that ends the process which loads it, as a crash of a native library does."""

    def __reduce__(self):
        return signal.raise_signal, (int(signal.SIGKILL),)


class LockKeeper:
    """A pickle that never gives back Python's lock while it is loaded."""

    def __reduce__(self):
        return re.match, (r"(a+)+$", "a" * 100 + "b")


def truncated(root, version="v3"):
    path = build_model(root, version=version)
    (path / FILE).write_bytes(skops_bytes()[:-100])


def flipped(root, version="v3"):
    content = bytearray(skops_bytes())
    content[len(content) // 2] ^= 1
    (build_model(root, version=version) / FILE).write_bytes(content)


def untrusted_type(root, version="v3"):
    tree = skops.io.dumps(train(classifier=DecisionTreeClassifier()))
    build_model(root, version=version, files={FILE: tree})


def zip_bomb(root, version="v3"):
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", bytes(40 << 20))
    build_model(root, version=version, files={FILE: bomb.getvalue()})


def pickle(root, version="v3"):
    build_pickle(root, train(), version=version)


def missing_file(root, version="v3"):
    (build_model(root, version=version) / FILE).unlink()


def other_library(root, version="v3"):
    build_model(root, version=version, libraries={"scikit-learn": "0.1.2"})


def nan_weights(root, version="v3"):
    broken = train()
    broken[-1].coef_[0, 0] = np.nan
    build_model(root, version=version, files={FILE: skops.io.dumps(broken)})


def link_for_a_file(root, version="v3"):
    path = build_model(root, version=version)
    (path / FILE).rename(root / "elsewhere")
    (path / FILE).symlink_to(root / "elsewhere")


def link_for_the_directory(root, version="v3"):
    (root / "tiny" / version).symlink_to(build_model(root / "elsewhere", version=version))


def path_in_the_manifest(root, version="v3"):
    path = build_model(root, version=version)
    text = (path / "model.yaml").read_text()
    (path / "model.yaml").write_text(text.replace(FILE, f"../v1/{FILE}"))


def pipe_for_a_file(root, version="v3"):
    path = build_model(root, version=version)
    (path / FILE).unlink()
    os.mkfifo(path / FILE)


def wrong_golden_texts(root, version="v3"):
    golden = build_model(root, version=version) / "golden.jsonl"
    golden.write_text('{"text": "good day", "label": "negative"}\n')


def no_golden_texts(root, version="v3"):
    (build_model(root, version=version) / "golden.jsonl").write_bytes(b"\xff")


def no_manifest(root, version="v3"):
    (build_model(root, version=version) / "model.yaml").unlink()


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
