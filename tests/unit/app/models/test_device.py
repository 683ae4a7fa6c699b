"""Which device a process computes on."""

import pytest
import torch

from app.errors import ConfigError, DeviceMissing
from app.models import device
from app.models.base import Manifest
from app.models.device import choose_device
from tests.models import LABELS


@pytest.fixture
def no_driver(monkeypatch):
    monkeypatch.setattr(device, "DRIVER_FILES", ("/nonexistent/driver",))
    monkeypatch.setattr(device.sys, "platform", "linux")


@pytest.mark.parametrize("wanted", ["auto", "cpu"])
def test_without_a_driver_everything_runs_on_the_cpu(no_driver, wanted):
    assert device.choose(wanted) == "cpu"


def test_gpu_that_is_not_there_is_refused(no_driver):
    with pytest.raises(ConfigError, match=r"worker\.device = 'gpu'"):
        device.choose("gpu")


def test_torch_decides_where_there_is_a_driver(monkeypatch, tmp_path):
    monkeypatch.setattr(device, "DRIVER_FILES", (str(tmp_path),))

    assert device.sees_gpu() == torch.cuda.is_available()


def manifest(device):
    return Manifest(
        name="tiny", version="v1", format="torch", labels=list(LABELS), artifacts=[], device=device
    )


@pytest.mark.parametrize(
    ("wanted", "offered", "has_cuda", "chosen"),
    [
        ("auto", "auto", True, "gpu"),
        ("auto", "auto", False, "cpu"),
        ("auto", "cpu", True, "cpu"),
        ("auto", "gpu", True, "gpu"),
        ("cpu", "auto", True, "cpu"),
        ("cpu", "gpu", True, "cpu"),
        ("gpu", "auto", True, "gpu"),
    ],
)
def test_device_is_what_both_sides_allow(wanted, offered, has_cuda, chosen):
    assert choose_device(manifest(wanted), offered, has_cuda) == chosen


@pytest.mark.parametrize(
    ("wanted", "offered", "has_cuda"),
    [("gpu", "cpu", True), ("gpu", "auto", False), ("auto", "gpu", False)],
)
def test_gpu_that_is_not_there_is_an_error(wanted, offered, has_cuda):
    with pytest.raises(DeviceMissing):
        choose_device(manifest(wanted), offered, has_cuda)
