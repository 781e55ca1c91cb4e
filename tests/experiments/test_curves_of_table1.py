"""The curves of Table 1 against single attacks and a closed form."""

import torch
from torch import nn

from nls.attacks import Ball, is_correct, pgd
from nls.attacks.report import PGD_ATTACKS
from nls.engine.seeds import torch_stream
from nls.experiments import table1


def plan(**changes):
    settings = {"eps": 0.1, "attacks": ["pgd-xent"], "steps": 4, "step_size": 0.05, "curve_steps": 20}
    return table1.AttackPlan(**settings | changes)


def test_the_steps_curve_is_what_an_attack_of_so_many_steps_leaves():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 16), nn.ReLU(), nn.Linear(16, 3))
    images = torch.rand(60, 1, 3, 3)
    labels = network(images).argmax(dim=1)
    labels[0] = (labels[0] + 1) % 3
    curve = table1.steps_curve(network, images, labels, plan(eps=0.3, step_size=0.02), seed=0)
    assert curve["steps"] == list(range(21))
    ball = Ball(0.3)
    start = ball.random(images, torch_stream(0, "curve", "steps"))
    clean, tried = is_correct(network, images, labels), (0, 1, 3, 6, 10, 20)
    for name, loss in PGD_ATTACKS.items():
        left = [
            clean & ~pgd(network, images, labels, ball, start, loss=loss, steps=steps, step_size=0.02).broken
            for steps in tried
        ]
        assert [curve[name][steps] for steps in tried] == [float(rows.double().mean()) for rows in left]
        assert curve[name][0] > curve[name][10] > curve[name][20]


def test_steps_of_the_eps_curve_grow_with_the_radius():
    """Four steps of half the radius reach the ball's corner from any start, where a linear model is worst."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    weights, bias = network[1].weight.data, network[1].bias.data
    # The boundary goes through the middle of the box, and images lie so far from it in L∞.
    bias -= weights.sum(dim=1) / 2 + bias
    distances, labels = torch.linspace(0.005, 0.405, 81), torch.arange(81) % 2
    away = (weights[labels] - weights[1 - labels]).sign()
    images = (0.5 + distances[:, None] * away).reshape(81, 1, 2, 2)
    radii = [0.0, 0.1, 0.2, 0.4]
    curve = table1.eps_curve(network, images, labels, plan(curve_eps=radii), seed=0)
    for name in PGD_ATTACKS:
        assert curve[name] == [float((distances > radius).double().mean()) for radius in radii]
