"""The state of the parts of a training run, for checkpoints."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

Part = nn.Module | torch.optim.Optimizer | torch.optim.lr_scheduler.LRScheduler | torch.Generator


def snapshot(parts: Mapping[str, Part]) -> dict[str, Any]:
    """Return the states of networks, optimizers, schedules and generators by name."""
    return {
        name: part.get_state() if isinstance(part, torch.Generator) else part.state_dict()
        for name, part in parts.items()
    }


def restore(parts: Mapping[str, Part], saved: Mapping[str, Any]) -> None:
    """Put states from :func:`snapshot` back."""
    for name, part in parts.items():
        if isinstance(part, torch.Generator):
            part.set_state(saved[name])
        else:
            part.load_state_dict(saved[name])
