"""AutoAttack is its authors' standard version: its settings, and its verdicts beside plain implementations."""

from copy import deepcopy

import plain_autoattack as plain
import pytest
import torch
from torch import nn

from nls.attacks import Ball, Effort, is_correct, library_attack
from nls.attacks.library import AUTOATTACK, _attacker

# As the authors set them for both norms; restarts, losses and schedules included.
STANDARD = {
    "apgd-ce": {"steps": 100, "n_restarts": 1, "thr_decr": 0.75, "eot_iter": 1, "loss": "ce"},
    "apgd-t": {"steps": 100, "n_restarts": 1, "thr_decr": 0.75, "eot_iter": 1, "n_target_classes": 9},
    "fab-t": {
        "steps": 100,
        "n_restarts": 1,
        "alpha_max": 0.1,
        "eta": 1.05,
        "beta": 0.9,
        "n_target_classes": 9,
        "multi_targeted": True,
    },
    "square": {
        "n_queries": 5000,
        "n_restarts": 1,
        "p_init": 0.8,
        "loss": "margin",
        "rescale_schedule": False,
    },
}


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("name", AUTOATTACK)
def test_settings_are_the_standard_versions(name, norm, classes):
    attacker = _attacker(name, nn.Linear(4, classes), classes, Effort(), 1, eps=0.3, norm=norm, seed=7)
    found = {key: getattr(attacker, key) for key in STANDARD[name]}
    assert found == STANDARD[name]
    assert (attacker.eps, attacker.norm, attacker.seed) == (0.3, norm, 7)


def test_with_few_classes_every_wrong_one_is_a_target():
    for name in ("apgd-t", "fab-t"):
        attacker = _attacker(name, nn.Linear(4, 5), 5, Effort(), 1, eps=0.3, norm="Linf", seed=7)
        assert attacker.n_target_classes == 4


class Sine(nn.Module):
    def forward(self, values):
        return values.sin()


def dense():
    return nn.Sequential(nn.Flatten(), nn.Linear(81, 40), nn.Tanh(), nn.Linear(40, 5))


def convolutional():
    first, second = nn.Conv2d(2, 8, 3), nn.Conv2d(8, 8, 3, stride=2)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(72, 5))


def wavy():
    """A network on which ten steps are too few, so that the size of each one decides."""
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(25, 60), Sine(), nn.Linear(60, 40), Sine(), nn.Linear(40, 5)
    )
    model[1].weight.data *= 8
    model[3].weight.data *= 6
    model[5].bias.data[0] = 2
    return model


# A network, the shape of its images, and radii that it withstands on some of them.
NETWORKS = {
    "dense": (dense, (1, 9, 9), {"linf": 0.08, "l2": 0.6}),
    "convolutional": (convolutional, (2, 9, 9), {"linf": 0.04, "l2": 0.4}),
    "wavy": (wavy, (1, 5, 5), {"linf": 0.06, "l2": 0.4}),
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    """A small network, images at all distances from its boundary, their labels, and the radii."""
    make, shape, radii = NETWORKS[request.param]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, labels = make(), torch.arange(240) % 5
        images = (0.5 + 0.15 * torch.randn(5, *shape)[labels] + 0.3 * torch.randn(240, *shape)).clamp(0, 1)
        if make is wavy:
            images = torch.rand(240, *shape)
            labels = model(images).argmax(dim=1)
        else:
            optimizer = torch.optim.Adam(model.parameters(), 5e-3)
            for _ in range(40):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images), labels).backward()
                optimizer.step()
        some = slice(40 if make is wavy else 20)
        return model.requires_grad_(False), images[some], labels[some], radii


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", AUTOATTACK)
def test_verdicts_are_those_of_a_plain_implementation(name, norm, network):
    model, images, labels, radii = network
    eps, seed, targets = radii[norm], 3, range(2, 6)
    effort = Effort(apgd_steps=10, fab_steps=10, queries=250)  # square's windows shrink from query 201 on
    if name != "fab-t":  # which works in float32 alone
        torch.set_default_dtype(torch.float64)
        model, images = deepcopy(model).double(), images.double()
    points = library_attack(name, model, images, labels, Ball(eps, norm), classes=5, effort=effort, seed=seed)
    found = is_correct(model, points, labels)
    match name:
        case "apgd-ce":
            expected = plain.apgd(model, images, labels, eps, norm, effort.apgd_steps, seed)
        case "apgd-t":
            expected = plain.apgd(model, images, labels, eps, norm, effort.apgd_steps, seed, targets)
        case "fab-t":
            expected = plain.fab(model, images, labels, eps, norm, effort.fab_steps, targets)
        case "square":
            expected = plain.square(model, images, labels, eps, norm, effort.queries, seed)
    assert torch.equal(found, expected)
    assert 0 < found.sum() < is_correct(model, images, labels).sum()


def test_images_may_lie_with_their_channels_last():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(75, 5))
    images = torch.rand(8, 5, 5, 3).permute(0, 3, 1, 2)
    labels = model(images).argmax(dim=1)
    for name in AUTOATTACK:
        for ball in (Ball(0.3, "linf"), Ball(2, "l2")):
            options = {"classes": 5, "effort": Effort(2, 2, 5), "seed": 0}
            points, expected = (
                library_attack(name, model, each, labels, ball, **options)
                for each in (images, images.contiguous())
            )
            assert torch.equal(points, expected)
            assert not torch.equal(points, images)
