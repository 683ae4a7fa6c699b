"""A library that is absent is named with the extra that brings it, and nothing else is hidden."""

import sys

import pytest

from app.errors import LibraryMissing
from app.models.extras import import_optional
from app.preprocessing.subwords import subword_ids


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that imports the library `absent`."""
    (tmp_path / "needy.py").write_text("import absent.part\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "needy"


def test_absent_library_is_named_with_its_extra(module):
    with pytest.raises(LibraryMissing, match=r"absent is not installed; .* '\.\[some\]'"):
        import_optional(module, {"absent": "some"})


def test_absent_library_of_no_extra_is_an_error_of_its_own(module):
    with pytest.raises(ModuleNotFoundError, match="absent"):
        import_optional(module, {"other": "some"})


def test_step_without_tokenizers_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)

    with pytest.raises(LibraryMissing, match=r"tokenizers is not .* '\.\[transformers\]'"):
        subword_ids({}, max_tokens=8)
