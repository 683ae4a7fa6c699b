"""Which device a process computes on."""

import pytest
import torch

from app.errors import ConfigError
from app.models import device


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
