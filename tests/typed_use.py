"""Use of the public names that mypy checks (`make lint`): a type checker sees their signatures from outside."""

from typing import assert_type

import numpy as np
import torch
from torch import nn

import nls
from nls.attacks import AttackReport
from nls.levelset import Projection
from nls.reconstruction import Reconstruction

network = nn.Linear(2, 2)
points = torch.rand(3, 2)
assert_type(nls.attack(network, points, torch.zeros(3, dtype=torch.long), eps=0.1), AttackReport)
assert_type(nls.project(network, points), Projection)
assert_type(nls.reconstruct(np.zeros((10, 3))), Reconstruction)
nls.attack("no model", points, points, eps=0.1)  # type: ignore[arg-type]
