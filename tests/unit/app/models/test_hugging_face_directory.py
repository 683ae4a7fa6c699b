"""Directories as save_pretrained writes them: taken in with a manifest, or refused."""

import json

import pytest

from app.errors import ArtifactInvalid, ArtifactUnsafe, ManifestInvalid, VersionExists
from app.models.base import MULTI_LABEL, Ref
from app.models.catalog import Catalog, read_manifest
from app.models.install import install
from app.models.loader import load
from tests.hugging_face_models import MAX_TOKENS, save_classifier
from tests.models import LABELS, LIMITS

REF = Ref("tiny", "v1")


@pytest.fixture
def source(tmp_path):
    return save_classifier(tmp_path / "source", problem_type=MULTI_LABEL)


@pytest.fixture
def take_in(source, tmp_path):
    return lambda ref=REF: install(source, tmp_path / "models", LIMITS, ref)


def test_manifest_is_written_from_the_config(take_in, tmp_path):
    assert take_in() == (REF, True)

    manifest = read_manifest(tmp_path / "models/tiny/v1")
    assert (manifest.format, manifest.labels) == ("transformers", list(LABELS))
    assert manifest.problem_type == MULTI_LABEL
    assert manifest.pipeline[0].options == {"artifact": "tokenizer.json", "max_tokens": MAX_TOKENS}
    assert load(Catalog(tmp_path / "models", "tiny").get(REF), LIMITS).ref == "tiny-v1"


def test_only_what_is_served_is_copied(source, take_in, tmp_path):
    (source / "training_args.bin").write_bytes(b"a pickle")
    (source / "checkpoint-500").mkdir()

    take_in()

    copied = {file.name for file in (tmp_path / "models/tiny/v1").iterdir()}
    assert copied == {"model.yaml", "model.safetensors", "config.json", "tokenizer.json"}


def test_same_directory_again_changes_nothing_and_another_is_refused(source, take_in):
    take_in()
    assert take_in() == (REF, False)

    change(source, "tokenizer_config.json", model_max_length=8)
    with pytest.raises(VersionExists):
        take_in()


def change(source, file, **keys):
    found = json.loads((source / file).read_text()) | keys
    (source / file).write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("said", "expected"), [(8, 8), (int(1e30), MAX_TOKENS), (None, MAX_TOKENS), (0, MAX_TOKENS)]
)
def test_limit_is_the_smaller_one_of_model_and_tokenizer(source, take_in, tmp_path, said, expected):
    change(source, "tokenizer_config.json", model_max_length=said)

    take_in()

    step = read_manifest(tmp_path / "models/tiny/v1").pipeline[0]
    assert step.options["max_tokens"] == expected


def as_pickle(source):
    (source / "model.safetensors").rename(source / "pytorch_model.bin")


def without(file):
    def remove(source):
        (source / file).unlink()

    remove.__name__ = f"without {file}"
    return remove


def with_code(source):
    change(source, "config.json", auto_map={"AutoModel": "modeling.Model"})


def of_a_stranger(source):
    change(source, "config.json", model_type="llama")


@pytest.mark.parametrize(
    ("damage", "error", "sentence"),
    [
        (as_pickle, ArtifactUnsafe, r"pytorch_model\.bin is a pickle.*save_pretrained"),
        (without("model.safetensors"), ArtifactInvalid, r"model\.safetensors is missing"),
        (without("tokenizer.json"), ArtifactInvalid, r"tokenizer\.json is missing.*AutoTokenizer"),
        (without("config.json"), ManifestInvalid, r"and so is config\.json"),
        (with_code, ArtifactUnsafe, "auto_map"),
        (of_a_stranger, ArtifactInvalid, "unknown architecture 'llama'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_served_is_refused_with_a_way_out(
    source, take_in, tmp_path, damage, error, sentence
):
    damage(source)

    with pytest.raises(error, match=sentence):
        take_in()
    assert list((tmp_path / "models").iterdir()) == []


def test_directory_without_manifest_and_name_is_told_what_it_needs(take_in):
    with pytest.raises(ManifestInvalid, match="a Hugging Face directory needs a name: --name"):
        take_in(None)
