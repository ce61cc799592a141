"""Where a model runs and in which arithmetic; decided in one place for detectors and predictors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from annotator.errors import ConfigurationError, UnknownName

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")


def pick_device(name: str) -> torch.device:
    """The device called ``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ConfigurationError: there is no such device, or not on this machine.
    """
    import torch

    known = "use auto, cpu, cuda or cuda:N"
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    except RuntimeError as error:
        raise ConfigurationError(f"unknown device '{name}'; {known}") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigurationError(f"device '{name}' is not one that models run on here; {known}")
    if device.type == "cuda" and (device.index or 0) >= (torch.cuda.device_count() if torch.cuda.is_available() else 0):
        raise ConfigurationError(f"device '{name}' is not here; set device to cpu or auto")
    return device


def is_on_gpu(name: str) -> bool:
    """Whether a model would run on a GPU; without one in the machine this costs no import of torch."""
    if name == "cpu" or not (name.startswith("cuda") or Path("/dev/nvidiactl").exists()):
        return False
    import torch

    return bool(torch.cuda.is_available())


def arithmetic(dtype: str, *, on_gpu: bool, best: str) -> str:
    """The dtype that ``auto`` stands for: float32 on a CPU, ``best`` on a GPU; others are what they are.

    >>> arithmetic("auto", on_gpu=True, best="bfloat16")
    'bfloat16'

    Raises:
        UnknownName: it is none of the known ones.
    """
    if dtype == "auto":
        return best if on_gpu else "float32"
    if dtype not in DTYPES:
        raise UnknownName("dtype", dtype, ["auto", *DTYPES])
    return dtype
