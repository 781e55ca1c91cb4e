"""Inputs that every machine has, without a network: images, a scan, and networks trained on them for a moment."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nls.data import load_images
from nls.networks.classifiers import build_classifier
from nls.networks.small_convnet import SmallConvNet


@cache
def images(device: torch.device) -> tuple[Tensor, Tensor]:
    """scikit-learn's 1,797 handwritten digits, enlarged to 28 × 28 as MNIST's are, and their labels."""
    data = load_images("digits", Path("data"))
    pixels = np.concatenate([data.train.images, data.test.images])
    labels = np.concatenate([data.train.labels, data.test.labels])
    enlarged = functional.interpolate(torch.from_numpy(pixels).float() / 255, size=28, mode="bilinear")
    return enlarged.to(device), torch.from_numpy(labels).to(device)


@cache
def classifier(device: torch.device, steps: int = 40) -> nn.Module:
    """ConvNet-4a (the paper's, with a linear head) after some steps on the digits."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_classifier("convnet4a-linear-head", 1, 28, 10).to(device)
        x, y = images(device)
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        for step in range(steps):
            rows = torch.arange(64 * step, 64 * (step + 1), device=device) % len(x)
            optimizer.zero_grad()
            functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model.eval()


def halves(device: torch.device) -> tuple[Tensor, Tensor]:
    """The digits, and −1 for those below 5, +1 for the others."""
    x, y = images(device)
    return x, torch.where(y < 5, -1.0, 1.0)


@cache
def separator(device: torch.device, steps: int = 40) -> nn.Module:
    """The network of Figure 2 after some steps of the hinge on the two halves."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SmallConvNet(1, 28, 28).to(device)
        x, y = halves(device)
        optimizer = torch.optim.Adam(network.parameters(), 1e-3)
        for step in range(steps):
            rows = torch.arange(64 * step, 64 * (step + 1), device=device) % len(x)
            optimizer.zero_grad()
            (1 - y[rows] * network(x[rows]).flatten()).clamp_min(0).mean().backward()
            optimizer.step()
    return network


def scan(points: int, device: torch.device) -> Tensor:
    """Points of a bumpy ball in the unit ball, (points, 3): as many per solid angle everywhere, noise 0.001."""
    draws = np.random.default_rng(0)
    directions = draws.normal(size=(points, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radii = 0.7 + 0.2 * np.sin(5 * directions[:, 0]) * np.cos(4 * directions[:, 1] + directions[:, 2])
    noisy = directions * radii[:, None] + draws.normal(scale=0.001, size=(points, 3))
    return torch.as_tensor(noisy, dtype=torch.float32, device=device)
