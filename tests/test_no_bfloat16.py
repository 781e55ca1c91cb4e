"""Nothing is computed in half precision, so that nothing takes twenty times as long where a processor lacks it."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nls import attack, reconstruct
from nls.attacks import Effort
from nls.networks.classifiers import build_classifier
from nls.networks.small_convnet import SmallConvNet
from nls.objectives.base import Moment
from nls.objectives.classifiers import make_method
from nls.objectives.geometric_svm import GeometricSVM
from nls.objectives.settings import make_loss

HALF = (torch.bfloat16, torch.float16)


class NoHalfPrecision(TorchDispatchMode):
    """Fail at the first operation that gives half precision."""

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        assert not (isinstance(result, torch.Tensor) and result.dtype in HALF), function
        return result


@pytest.mark.parametrize("method", ["levelset", "igr", "atlasnet-25"])
def test_in_a_reconstruction(method):
    points = np.random.default_rng(0).normal(size=(400, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    with NoHalfPrecision():
        reconstruct(points, method, steps=2, resolution=16)


SETTINGS = {
    "ours": {"eps_correct": 0.1, "eps_wrong": 0.1, "eps_attack": 0.1, "steps": 2, "step_size": 0.05},
    "madry": {"eps": 0.1, "steps": 2, "step_size": 0.05},
    "trades": {"eps": 0.1, "beta": 6.0, "steps": 2, "step_size": 0.05},
}


@pytest.mark.parametrize("method", SETTINGS)
def test_in_a_step_of_robust_training(method):
    torch.manual_seed(0)
    model = build_classifier("convnet-small", 1, 8, 10)
    images, labels = torch.rand(6, 1, 8, 8), torch.arange(6)
    loss = make_method(method, SETTINGS[method])
    with NoHalfPrecision():
        loss(model, images, labels, Moment(0.0, torch.Generator().manual_seed(0))).backward()
        torch.optim.Adam(model.parameters()).step()


def test_in_a_step_of_the_geometric_svm():
    network, points = SmallConvNet(1, 8, 8), torch.rand(6, 1, 8, 8)
    loss = make_loss("geometric_svm", {"geometric_svm": GeometricSVM}, {"regularization": 0.05})
    with NoHalfPrecision():
        loss(network, points, torch.tensor([1.0, -1.0] * 3)).sum().backward()


def test_in_attacks():
    model = build_classifier("convnet-small", 1, 8, 10)
    images = torch.rand(6, 1, 8, 8)
    with NoHalfPrecision():
        attack(model, images, model(images).argmax(1), eps=0.1, steps=2, effort=Effort(2, 2, 4))
