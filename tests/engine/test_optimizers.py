import subprocess
import sys

import pytest
import torch

from nls.engine import optimizers

KINDS = {
    "Adam": {"lr": 0.1},
    "Adam, fused": {"lr": 0.1, "fused": True, "weight_decay": 0.01},
    "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
}


def trained(make, settings):
    """Minimise twice from the same start, the second time from the state of the first; return what is reached."""
    parameters = [torch.nn.Parameter(torch.linspace(-1, 2, 7)), torch.nn.Parameter(torch.ones(2, 3))]
    state = None
    for _ in range(2):
        optimizer = make(parameters[:1], **settings)
        optimizer.add_param_group({"params": parameters[1:], "lr": 0.01})
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)
        if state is not None:
            optimizer.load_state_dict(state)
        for _ in range(5):
            optimizer.zero_grad()
            sum(parameter.cos().sum() for parameter in parameters).backward()
            optimizer.step()
            schedule.step()
        state = optimizer.state_dict()
    return parameters, state


@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_torchs(kind):
    name = kind.split(",")[0]
    ours, state = trained(getattr(optimizers, name), KINDS[kind])
    theirs, their_state = trained(getattr(torch.optim, name), KINDS[kind])
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in ours)
    assert state.keys() == their_state.keys()
    assert state["param_groups"] == their_state["param_groups"]


TRAINING = """
import sys, torch
from nls.engine.optimizers import SGD, Adam
from nls.reconstruction.muon import Muon

for make in (SGD, Adam, Muon):
    matrix = torch.nn.Parameter(torch.ones(3, 3))
    optimizer = make([matrix], 0.1)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    optimizer.zero_grad()
    matrix.square().sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
"""


def test_the_compiler_is_not_imported():
    done = subprocess.run([sys.executable, "-c", TRAINING], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
