import cProfile
import json
import pstats

import numpy as np
import pytest
import torch
from torch import nn

from nls.attacks import ATTACKS, Ball, Effort, attack, is_correct, model_warnings, pgd
from nls.cli import main
from nls.errors import UserError
from nls.networks.classifiers import CLASSIFIERS, build_classifier

QUICK = Effort(apgd_steps=5, fab_steps=3, queries=20)


@pytest.fixture(scope="module")
def examples():
    """Ten classes by the brightest pixel of the first ten, and a trained network."""
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 10
    images = torch.rand(60, 1, 8, 8, generator=draws) * 0.3
    images.flatten(1)[torch.arange(60), labels] += 0.5
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10))
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    assert is_correct(network, images, labels).all()
    return network.eval(), images, labels


class Around(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner


class Noisy(Around):
    def forward(self, images):
        return self.inner(images + 0.05 * torch.randn_like(images))


class Softmax(Around):
    def forward(self, images):
        return self.inner(images).softmax(dim=1)


class Purifying(Around):
    """Moves the image towards its own class before it classifies it."""

    def forward(self, images):
        from torch.autograd import grad

        with torch.enable_grad():
            here = images.detach().requires_grad_(True)
            (slope,) = grad(self.inner(here).logsumexp(dim=1).sum(), here)
        return self.inner((images + 0.01 * slope.sign()).clamp(0, 1))


class Descending(Around):
    """The same with an optimizer, as a library would do it."""

    def forward(self, images):
        with torch.enable_grad():
            offset = torch.zeros_like(images).requires_grad_(True)
            optimizer = torch.optim.SGD([offset], 0.1)
            (self.inner(images.detach() + offset) ** 2).mean().backward()
            optimizer.step()
        return self.inner(images + offset.detach())


class Collecting(Around):
    """The same with gradients that are gathered in the image."""

    def forward(self, images):
        with torch.enable_grad():
            here = images.detach().requires_grad_(True)
            torch.autograd.backward([self.inner(here).logsumexp(dim=1).sum()])
        return self.inner((images + 0.01 * here.grad.sign()).clamp(0, 1))


class Functional(Around):
    """The same with a function's gradient."""

    def forward(self, images):
        slope = torch.func.grad(lambda here: self.inner(here).logsumexp(dim=1).sum())(images)
        return self.inner((images + 0.01 * slope.sign()).clamp(0, 1))


class Quantising(Around):
    def forward(self, images):
        return self.inner((images * 8).round() / 8)


class Detached(Around):
    def forward(self, images):
        return self.inner(images.detach())


class Dropping(Around):
    def forward(self, images):
        return self.inner(nn.functional.dropout(images, 0.1, training=True))


TOYS = {
    Noisy: {"randomised"},
    Dropping: {"randomised"},
    Softmax: {"probabilities"},
    Purifying: {"optimises"},
    Descending: {"optimises"},
    Collecting: {"optimises"},
    Functional: {"optimises"},
    Quantising: {"zero_gradient"},
    Detached: {"zero_gradient"},
}


@pytest.mark.parametrize("toy", TOYS)
def test_each_toy_raises_its_own_warning_only(toy, examples):
    network, images, labels = examples
    assert set(model_warnings(toy(network), images, labels)) == TOYS[toy]


@pytest.mark.parametrize("toy", [Purifying, Descending])
def test_a_profiler_goes_on_beside_the_checks(toy, examples):
    network, images, labels = examples
    with cProfile.Profile() as profiler:
        warnings = model_warnings(toy(network), images, labels)
    assert set(warnings) == {"optimises"}
    profiled = {function for _, _, function in pstats.Stats(profiler).stats}
    assert {"forward", "_without_gradient"} <= profiled  # from the first check to the last


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_plain_network_raises_none(name):
    torch.manual_seed(0)
    channels, side = (3, 32) if name in ("convnet4b", "resnet18") else (1, 28)
    network = build_classifier(name, channels, side, 10)
    images = torch.rand(3, channels, side, side)
    assert model_warnings(network, images, network.eval()(images).argmax(dim=1)) == {}


def test_a_trained_plain_network_raises_none(examples):
    assert model_warnings(*examples) == {}


def test_outputs_that_only_look_a_little_like_probabilities_are_logits(examples):
    _, images, labels = examples

    class Simplex(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :10] / 5

    assert model_warnings(Simplex(), images, labels) == {}


def test_the_report_prints_and_holds_them(examples, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network, images, labels = examples
    (tmp_path / "model.py").write_text(
        "from torch import nn\n\n\ndef net():\n"
        "    layers = [nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10)]\n"
        "    return nn.Sequential(*layers, nn.Softmax(1))\n"
    )
    torch.save({"model": network.state_dict(), "epoch": 3}, "weights.pt")
    pixels = (images[:, 0] * 255).round().to(torch.uint8).numpy()
    np.savez("set.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    words = ["--model", "model.py:net", "--weights", "weights.pt", "--dataset", "set.npz", "--eps", "0.05"]
    assert main(["attack", *words, "--attacks", "pgd-margin", "--steps", "3", "--out", "a.json"]) == 0
    printed = capsys.readouterr().out
    assert "weights       taken from model" in printed
    assert "warning: the outputs look like probabilities" in printed
    report = json.loads((tmp_path / "a.json").read_text())
    assert set(report["warnings"]) == {"probabilities"}
    assert report["weights_unwrapped"] == {"key": "model", "prefix": "", "dtypes": []}


def test_a_model_without_any_gradient_is_for_square_alone(examples):
    network, images, labels = examples
    with pytest.raises(UserError, match="no gradient in the image: attack it with square alone"):
        attack(Detached(network), images, labels, eps=0.1)
    report = attack(Detached(network), images, labels, eps=0.3, attacks=["square"], effort=QUICK)
    assert set(report.warnings) == {"zero_gradient"}


def test_a_randomised_model_gets_averaged_gradients_and_the_same_report_twice(examples):
    network, images, labels = examples
    state = torch.get_rng_state()
    settings = {"eps": 0.06, "steps": 8, "step_size": 0.01, "effort": QUICK}
    first, second = (attack(Noisy(network), images, labels, **settings) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert first.settings["passes"] == 20
    assert first.to_dict() == second.to_dict()
    assert 0 < first.minimum.sum() < first.clean.sum()


def test_averaging_makes_pgd_stronger_on_a_noisy_model(examples):
    """With much noise the gradient of one pass is mostly noise."""
    network, images, labels = examples

    class VeryNoisy(Around):
        def forward(self, images):
            return self.inner(images + 0.3 * torch.randn_like(images))

    model, ball, left = VeryNoisy(network), Ball(0.05), {}
    for passes in (1, 20):
        torch.manual_seed(0)
        result = pgd(
            model, images, labels, ball, images, loss="margin", steps=10, step_size=0.01, passes=passes,
            stop_when_broken=False,
        )  # fmt: skip
        torch.manual_seed(1)
        left[passes] = int(is_correct(model, result.points, labels, passes=200).sum())
    assert left[20] < left[1] - 5


def test_chance_alone_breaks_no_image(examples):
    """In a ball of radius 0 nothing can be done, however often one looks."""
    network, images, labels = examples

    class NoisyLogits(Around):
        def forward(self, images):
            logits = self.inner(images)
            return logits + 15.0 * torch.randn_like(logits)

    report = attack(
        NoisyLogits(network), images, labels, eps=0.0, attacks=["pgd-margin", "apgd-ce"], steps=10, restarts=3,
        effort=QUICK,
    )  # fmt: skip
    assert 0.5 * len(labels) < report.clean.sum() < len(labels)
    assert report.minimum.sum() >= 0.8 * report.clean.sum()


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_takes_a_randomised_model(name, examples):
    network, images, labels = examples
    report = attack(Noisy(network), images[:12], labels[:12], eps=0.1, attacks=[name], steps=2, effort=QUICK)
    assert 0 <= report.minimum.sum() <= report.clean.sum()
