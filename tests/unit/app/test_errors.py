"""The error tree: public sentences, and the way through Celery's JSON result backend."""

import celery
import pytest

from app import errors
from app.errors import InvalidFields, ManifestInvalid, ServingError
from app.mailbox import MailboxBackend


def subclasses(cls):
    return [cls, *(leaf for child in cls.__subclasses__() for leaf in subclasses(child))]


ALL = [cls for cls in subclasses(ServingError) if cls.__module__.startswith("app.errors.")]


@pytest.fixture(scope="module")
def backend():
    return MailboxBackend(app=celery.Celery(set_as_current=False), url="redis://localhost")


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_error_defines_no_init_and_has_a_sentence(cls):
    assert "__init__" not in vars(cls)
    assert cls.__doc__.endswith(".")
    assert 400 <= cls.status < 600


def test_error_codes_are_distinct():
    assert len({cls.code for cls in ALL}) == len(ALL)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_error_survives_the_result_backend(cls, backend):
    args = ({"text": ["too long"]},) if cls is InvalidFields else tuple("abcdefgh")
    raised = cls(*args)

    received = backend.exception_to_python(
        backend.decode(backend.encode(backend.prepare_exception(raised)))
    )

    assert type(received) is cls
    assert received.args == raised.args
    assert str(received) == str(raised)


def test_template_is_filled_with_the_arguments():
    assert str(ManifestInvalid("sentiment-v9", "empty")) == "model.yaml of sentiment-v9: empty"


def test_invalid_fields_name_each_field():
    error = InvalidFields({"text": ["is blank."], "top_k": ["must be 1 or more."]})

    assert str(error) == "text: is blank.; top_k: must be 1 or more."
    assert error.errors == {"text": ["is blank."], "top_k": ["must be 1 or more."]}


def test_docstring_draws_every_class_of_the_module():
    drawn = errors.__doc__

    assert [cls.__name__ for cls in ALL if cls.__name__ not in drawn] == []
