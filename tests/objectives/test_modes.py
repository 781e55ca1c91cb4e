"""In which mode every method lets the network see what: searches in evaluation mode, the loss in training mode."""

import copy

import pytest
import torch
from torch import nn

from nls.levelset import evaluation_mode
from nls.objectives.base import Moment
from nls.objectives.classifiers import METHODS, make_method
from nls.objectives.hat import HAT

STEPS = 3
# Settings, and the passes of the loss: of the images, and of the points that the search has found.
LOSSES = {
    "standard": ({}, 1),
    "madry": ({"eps": 0.1, "steps": STEPS}, 1),
    "trades": ({"eps": 0.1, "beta": 6, "steps": STEPS}, 2),
    "mart": ({"eps": 0.1, "steps": STEPS}, 2),
    "hat": ({"eps": 0.1, "steps": STEPS, "helper": "helper.pt"}, 3),
    "mma": ({"eps_max": 0.3, "steps": STEPS, "step_size": 0.1}, 2),
    "dyart": ({"radius": 0.3, "steps": STEPS, "burn_in_epochs": 0}, 2),
    "ours": ({"eps_correct": 0.2, "eps_wrong": 0.1, "eps_attack": 0.2, "steps": STEPS, "lost_weight": 1}, 2),
    "ours-level": ({"eps": 0.1, "steps": STEPS}, 1),
    "ours-linf": ({"eps": 0.1, "wanted": 0.12, "steps": STEPS}, 2),
    "large-margin": ({"gamma": 0.2}, 1),
}
WITHOUT_A_SEARCH = {"standard": 0, "large-margin": 1}


def moment():
    return Moment(0.0, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", METHODS)
def test_searches_see_evaluation_mode_and_the_statistics_are_of_the_loss_alone(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3))
    images = torch.rand(30, 1, 2, 2)
    with evaluation_mode(model), torch.no_grad():
        # The classes meet among the images.
        model[4].bias -= model(images).mean(dim=0)
        labels = model(images).argmax(dim=1)
    labels[:10] = (labels[:10] + 1) % 3
    torch.save(model.state_dict(), "helper.pt")
    before, passes = copy.deepcopy(model), []

    def note(module, inputs, output):
        # HAT's helper is a copy of the network, and notes its passes here too.
        if module is model:
            modes = {part.training for part in model.modules()}
            assert len(modes) == 1, "parts of the network are in different modes"
            passes.append((modes.pop(), inputs[0].detach().clone()))

    model.register_forward_hook(note)
    settings, passes_of_loss = LOSSES[name]
    make_method(name, settings)(model, images, labels, moment())
    training = [points for mode, points in passes if mode]
    searching = len(passes) - len(training)
    assert len(training) == passes_of_loss
    assert searching == WITHOUT_A_SEARCH[name] if name in WITHOUT_A_SEARCH else searching >= STEPS
    for points in training:
        before(points)
    for found, expected in zip(model.buffers(), before.buffers(), strict=True):
        torch.testing.assert_close(found, expected)


def test_the_helper_answers_in_evaluation_mode(tmp_path):
    """By its running mean it calls everything class 1; by the mean of a batch it would call half of it class 0."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.BatchNorm1d(2))
    images, labels = torch.rand(20, 1, 2, 2), torch.randint(2, (20,))
    helper = copy.deepcopy(model)
    helper[2].running_mean[0] = 100.0
    torch.save(helper.state_dict(), tmp_path / "helper.pt")
    method = HAT(eps=0.1, helper=str(tmp_path / "helper.pt"), beta=0, gamma=1, reach=0, steps=STEPS)
    loss = method(model, images, labels, moment())
    # With h = 0 the point beyond x' is the image itself.
    logits = model(images)
    expected = nn.functional.cross_entropy(logits, labels)
    expected = expected + nn.functional.cross_entropy(logits, torch.ones_like(labels))
    torch.testing.assert_close(loss, expected)
