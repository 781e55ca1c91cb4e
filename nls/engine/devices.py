"""The choice of a device."""

import platform
from pathlib import Path

import torch

from nls.errors import UserError


def choose_device(wish: str) -> torch.device:
    """Return the device for ``auto``, ``cpu`` or ``cuda``; ``auto`` takes a GPU where there is one.

    Raises:
        UserError: ``cuda`` was asked for and there is none.
    """
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wish == "cuda" and not torch.cuda.is_available():
        raise UserError(
            f"device cuda: torch {torch.__version__} sees no GPU here; take --device cpu or device: auto"
        )
    return torch.device(wish)


def device_name(device: torch.device) -> str:
    """Return the processor's own name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
