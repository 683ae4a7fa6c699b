"""What a skops file may hold, and how much of it."""

import io
import json
import zipfile

import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import ComplementNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion
from sklearn.svm import LinearSVC

from app.errors import ArtifactInvalid, ArtifactUnsafe
from app.models.formats import skops_format
from app.models.formats.skops_format import MAX_ENTRIES, load_object
from app.models.guard import only_model_errors
from tests.models import skops_bytes, train


def archive(files, compression=zipfile.ZIP_DEFLATED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as target:
        for name, data in files.items():
            target.writestr(name, data)
    return content.getvalue()


def node(kind, module, loader, content, **more):
    return {
        "__class__": kind,
        "__module__": module,
        "__loader__": loader,
        "content": content,
    } | more


def schema(tree):
    return json.dumps(tree | {"protocol": 2, "_skops_version": "0.16.0"}).encode()


def read(content):
    with only_model_errors("tiny-v1"):
        return load_object(content, "tiny-v1")


def shout(text):
    return [text.upper()]


@pytest.mark.parametrize(
    "classifier",
    [
        LogisticRegression(),
        SGDClassifier(loss="log_loss"),
        ComplementNB(),
        CalibratedClassifierCV(LinearSVC(), cv=2),
        VotingClassifier([("a", LogisticRegression()), ("b", ComplementNB())], voting="soft"),
        MLPClassifier((3,), max_iter=300, tol=0.1),
    ],
    ids=lambda classifier: type(classifier).__name__,
)
def test_common_text_classifiers_are_allowed(classifier):
    fitted = train(classifier=classifier)

    loaded = read(skops.io.dumps(fitted))

    given = loaded.predict_proba(["good day"])
    assert given == pytest.approx(fitted.predict_proba(["good day"]))


def test_type_that_is_not_on_the_list_is_named_and_refused():
    fitted = train()
    fitted[0].set_params(tokenizer=shout)

    with pytest.raises(ArtifactUnsafe, match="shout"):
        read(skops.io.dumps(fitted))


def test_trees_are_refused_because_their_content_can_crash_the_process():
    fitted = train(classifier=RandomForestClassifier(n_estimators=1))

    with pytest.raises(ArtifactUnsafe, match=r"sklearn\.tree\._tree\.Tree"):
        read(skops.io.dumps(fitted))


def test_function_of_the_system_is_refused_before_it_is_called(tmp_path):
    arguments = node("tuple", "builtins", "TupleNode", [])
    call = node("system", "os", "FunctionNode", arguments, is_json=False)

    with pytest.raises(ArtifactUnsafe, match=r"os\.system"):
        read(archive({"schema.json": schema(call)}))


def test_highly_compressed_file_is_refused_before_it_is_inflated():
    bomb = archive({"schema.json": schema({}), "zeros.npy": bytes(17 << 20)})

    with pytest.raises(ArtifactUnsafe, match=r"bytes would inflate to 178\d+, allowed"):
        read(bomb)


def test_bomb_inside_a_sparse_matrix_is_refused():
    inner = archive({"data.npy": bytes(17 << 20)})
    outer = archive({"schema.json": schema({}), "matrix.npz": inner}, zipfile.ZIP_STORED)

    with pytest.raises(ArtifactUnsafe, match="would inflate"):
        read(outer)


def test_file_that_is_referenced_again_and_again_counts_each_time():
    array = node("ndarray", "numpy", "NdArrayNode", None, type="numpy", file="a.npy")
    tree = node("list", "builtins", "ListNode", [array] * 1000)

    with pytest.raises(ArtifactUnsafe, match="would inflate"):
        read(archive({"schema.json": schema(tree), "a.npy": bytes(1 << 20)}))


def test_too_many_entries_are_refused():
    files = {f"{at}.npy": b"" for at in range(MAX_ENTRIES)}

    with pytest.raises(ArtifactUnsafe, match="more than 10000 files"):
        read(archive({"schema.json": schema({})} | files))


def test_large_schema_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setattr(skops_format, "MAX_SCHEMA_BYTES", 1000)

    with pytest.raises(ArtifactUnsafe, match=r"schema\.json is larger than 1000 bytes"):
        read(skops_bytes())


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_refused():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as target:
        target.writestr("schema.json", schema({}))
        target.writestr("schema.json", schema({}))

    with pytest.raises(ArtifactUnsafe, match="two files of one name"):
        read(content.getvalue())


@pytest.mark.parametrize(("depth", "error"), [(300, ArtifactUnsafe), (100_000, ArtifactInvalid)])
def test_deeply_nested_schema_is_an_error_and_no_crash(depth, error):
    with pytest.raises(error):
        read(archive({"schema.json": b"[" * depth + b"]" * depth}))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no zip at all",
        archive({}),
        archive({"schema.json": b"{"}),
        archive({"schema.json": b"7"}),
        archive({"schema.json": b"{}"}),
        skops_bytes()[:-200],
    ],
    ids=["empty", "text", "no schema", "half JSON", "number", "no tree", "truncated"],
)
def test_garbage_is_an_invalid_artifact(content):
    with pytest.raises(ArtifactInvalid):
        read(content)


def test_feature_union_is_allowed_and_stays_on_its_thread():
    union = FeatureUnion([("words", TfidfVectorizer()), ("more", TfidfVectorizer())])
    union.fit(["good day", "bad night"]).set_params(n_jobs=2)

    loaded = read(skops.io.dumps(union))

    assert loaded.n_jobs is None
    assert loaded.transform(["good"]).shape == (1, 8)
