"""What the catalog learns of the desired state, and from where."""

import pytest

from app.models.base import Ref
from app.models.catalog import Catalog
from app.models.desired import Desired, write_copy
from tests.models import activate, build_model

V1, V2 = Ref("tiny", "v1"), Ref("tiny", "v2")


@pytest.fixture
def root(tmp_path):
    """tiny-v1, which active.json names, and tiny-v2."""
    build_model(tmp_path, "tiny", "v1")
    build_model(tmp_path, "tiny", "v2")
    activate(tmp_path, tiny="v1")
    return tmp_path


def swapped(generation, version="v2"):
    return Desired(generation=generation, active={"tiny": version})


def test_copy_on_disk_is_followed_at_the_start(root):
    write_copy(root, swapped(5))

    assert Catalog(root, "tiny").active("tiny") == V2


def test_later_copy_on_disk_is_no_news(root):
    # Its writer knew of hosts that hold the version; this process may not have seen them yet.
    catalog = Catalog(root, "tiny")
    catalog.follow(swapped(5, "v1"))
    write_copy(root, swapped(6))

    catalog.entries(fresh=True)

    assert catalog.active("tiny") == V1


def test_version_that_becomes_active_is_looked_for_on_disk_at_once(root):
    catalog = Catalog(root, "tiny")
    assert catalog.active("tiny") == V1
    build_model(root, "tiny", "v3")

    catalog.follow(swapped(5, "v3"))

    assert catalog.active("tiny") == Ref("tiny", "v3")


def test_older_desired_state_is_not_followed(root):
    catalog = Catalog(root, "tiny")
    catalog.follow(swapped(5))

    assert not catalog.follow(swapped(4, "v1"))
    assert not catalog.follow(swapped(5))
    assert catalog.active("tiny") == V2


def test_other_state_of_the_same_generation_is_followed(root):
    """Redis was emptied, an older copy came back from a host, and was changed."""
    catalog = Catalog(root, "tiny")
    catalog.follow(swapped(5))

    assert catalog.follow(swapped(5, "v1"))
    assert catalog.active("tiny") == V1
