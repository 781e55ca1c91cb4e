"""The state of the parts of a training run, for checkpoints."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch


@runtime_checkable
class Stateful(Protocol):
    """Whatever keeps a state as torch's modules do; a loss that counts something is one."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Put a state back."""


Part = Stateful | torch.Generator


def snapshot(parts: Mapping[str, Part]) -> dict[str, Any]:
    """Return the states of networks, optimizers, schedules and generators by name."""
    return {
        name: part.get_state() if isinstance(part, torch.Generator) else part.state_dict()
        for name, part in parts.items()
    }


def restore(parts: Mapping[str, Part], saved: Mapping[str, Any]) -> None:
    """Put states from :func:`snapshot` back.

    A generator of another kind of device has no state that fits; it stays where its seed has put it.
    """
    for name, part in parts.items():
        if isinstance(part, torch.Generator):
            if part.get_state().shape == saved[name].shape:
                part.set_state(saved[name])
        else:
            part.load_state_dict(saved[name])
