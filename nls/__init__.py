"""Controlling neural level sets: samplers, losses, attacks, surfaces and the benchmark around them."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nls.attacks import attack
    from nls.levelset import SampleNetwork, project
    from nls.reconstruction import reconstruct

# Imported on first use: their packages take seconds.
_LATER = {
    "SampleNetwork": "nls.levelset",
    "attack": "nls.attacks",
    "project": "nls.levelset",
    "reconstruct": "nls.reconstruction",
}

__all__ = ["SampleNetwork", "attack", "project", "reconstruct"]


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
