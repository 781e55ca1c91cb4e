import pytest
import torch
from torch import nn

from nls.attacks import Ball, Effort, library_attack, pgd
from nls.attacks.cost import GRADIENT, most_passes
from nls.attacks.library import LIBRARY_ATTACKS
from nls.attacks.report import PGD_ATTACKS
from nls.errors import UserError


def passes_of(name, classes, steps):
    """Count what an attack that breaks nothing asks a model for, an example."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
    images, ball, counted = torch.rand(7, 1, 8, 8), Ball(1e-6), 0
    labels = model(images).argmax(dim=1)

    def count(model, inputs, output):
        nonlocal counted
        counted += len(inputs[0]) * (GRADIENT if torch.is_grad_enabled() else 1)

    model.register_forward_hook(count)
    if name in PGD_ATTACKS:
        pgd(model, images, labels, ball, images, loss=PGD_ATTACKS[name], steps=steps, step_size=1e-7)
    else:
        effort = Effort(steps, steps, steps)
        library_attack(name, model, images, labels, ball, classes=classes, effort=effort, seed=0)
    return counted / len(images)


@pytest.mark.parametrize("classes", [5, 12])
@pytest.mark.parametrize("name", [*PGD_ATTACKS, *LIBRARY_ATTACKS])
def test_the_most_that_an_attack_costs_is_what_it_takes_where_nothing_breaks(name, classes):
    told = [
        most_passes(name, Effort(steps, steps, steps), classes, steps=steps, starts=1) for steps in (10, 20)
    ]
    counted = [passes_of(name, classes, steps) for steps in (10, 20)]
    assert counted[1] - counted[0] == told[1] - told[0]
    assert 0 <= counted[0] - told[0] < 0.25 * told[0] + 10  # the passes at the start


def test_every_start_of_pgd_costs_the_same():
    one, three = (most_passes("pgd-xent", Effort(), 10, steps=40, starts=starts) for starts in (1, 3))
    assert three == 3 * one


@pytest.mark.parametrize("name", ["autoattack", "pgd", "FAB"])
def test_the_cost_of_no_single_attack_is_refused(name):
    with pytest.raises(UserError, match="is no single attack: take one of pgd-xent, pgd-margin, apgd-ce"):
        most_passes(name, Effort(), 10, steps=40, starts=1)
