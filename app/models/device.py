"""Worker process. Which device this process computes on."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from app.errors import ConfigError, DeviceMissing
from app.models.base import Manifest

Device = Literal["cpu", "gpu"]

# Drivers of NVIDIA and AMD, and the Windows Subsystem for Linux. Without any of these there is no
# GPU to be seen, and torch need not be imported (seconds) to find that out.
DRIVER_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def choose(wanted: Literal["auto", "cpu", "gpu"]) -> Device:
    """Turn `worker.device` into a device; "auto" is a GPU where torch sees one.

    Raises `ConfigError` where a GPU is wanted and cannot be used.
    """
    if wanted == "cpu":
        return "cpu"
    if sees_gpu():
        return "gpu"
    if wanted == "gpu":
        raise ConfigError("worker.device = 'gpu': torch is not installed or sees no CUDA device")
    return "cpu"


def choose_device(manifest: Manifest, offered: str, has_cuda: bool) -> str:
    """ "cpu" or "gpu": the manifest's wish, within what this process offers; "auto" leaves it open.

    `DeviceMissing` where the manifest or the process insists on a GPU that is not there.
    """
    insists_on_gpu = manifest.device == "gpu" or (manifest.device == "auto" and offered == "gpu")
    if insists_on_gpu and (offered == "cpu" or not has_cuda):
        raise DeviceMissing(str(manifest.ref))
    if "cpu" in (manifest.device, offered):
        return "cpu"
    return "gpu" if has_cuda else "cpu"


def sees_gpu() -> bool:
    """Whether torch is installed and can use CUDA."""
    has_driver = sys.platform != "linux" or any(Path(file).exists() for file in DRIVER_FILES)
    if not has_driver or find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())
