"""No step of a hot loop makes a GPU wait or copies to it: shown on the CPU, by what the step asks of torch.

A step may look at a number now and then: finished examples leave the batch, losses are shown, every few steps.
"""

import collections
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import nls
from nls.attacks import Ball, ascend, pgd
from nls.attacks.pgd import STEPS_BETWEEN_LOOKS
from nls.data import ImageDataset, Split
from nls.engine.finished import MadeFrom
from nls.engine.progress import Progress
from nls.engine.runs import Run
from nls.engine.settings import RunSpec
from nls.experiments import figure2
from nls.experiments.training import Training, train
from nls.geometry import neighbours
from nls.networks.atlasnet import AtlasNet
from nls.networks.detail import DetailedMLP
from nls.networks.implicit import ImplicitMLP
from nls.objectives import geometric_svm
from nls.objectives.classifiers import make_method
from nls.reconstruction.atlasnet import AtlasNetMethod, _atlas_loss
from nls.reconstruction.igr import Igr, _igr_loss, _rows
from nls.reconstruction.levelset import LevelSet, level_set_loss
from nls.reconstruction.training import Training as SurfaceTraining
from nls.reconstruction.training import fit

# Not any folder of that name: a checkout, with an environment in it, may be called nls too.
PACKAGE = f"{Path(nls.__file__).parent}{os.sep}"

# What needs a value, or a number of rows, before it can go on.
_WAITS = {
    "_local_scalar_dense", "item", "nonzero", "masked_select", "equal", "is_nonzero", "_unique", "_unique2",
    "unique_dim", "unique_consecutive", "bincount", "_linalg_check_errors",
}  # fmt: skip
_TO_THE_CPU = {"cpu", "numpy", "tolist", "__array__"}
_FROM_PYTHON = {"tensor", "from_numpy", "new_tensor", "asarray"}
_FACTORIES = {
    "arange", "empty", "eye", "full", "linspace", "ones", "rand", "randint", "randn", "randperm", "zeros",
}  # fmt: skip


class Stalls:
    """Watches what is asked of torch, step by step.

    Attributes:
        found: for each step, what would make a GPU wait or copy in it: operation and line.
    """

    def __init__(self):
        self.found = [[]]
        self._seeing = True
        self._modes = [_Functions(self), _Operations(self)]

    def __enter__(self):
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error):
        for mode in reversed(self._modes):
            mode.__exit__(*error)

    def step(self):
        """Begin a step; what comes before the first belongs to none."""
        self.found.append([])

    def tell(self, operation):
        frame, line = sys._getframe(2), None
        while frame is not None:
            file = frame.f_code.co_filename
            if "/torch/optim/" in file or file == neighbours.__file__:
                return  # the steps of an optimizer are counted on the CPU; so is the k-d tree there
            watched = file.startswith(PACKAGE) or file == __file__
            if line is None and watched and frame.f_code.co_name not in _OURS:
                line = f"{file.removeprefix(PACKAGE)}:{frame.f_lineno}"
            frame = frame.f_back
        self.found[-1].append(f"{operation} at {line}")

    def share(self):
        """Return the share of steps in which something stalls."""
        steps = self.found[1:]
        return sum(map(bool, steps)) / len(steps)

    def __str__(self):
        counts = collections.Counter(place for step in self.found[1:] for place in set(step))
        return "".join(
            f"\n{count:4} of {len(self.found) - 1} steps: {place}" for place, count in counts.items()
        )


_OURS = {"__torch_function__", "__torch_dispatch__"}


class _Functions(TorchFunctionMode):
    """Copies and tensors made on the CPU, which nothing below Python shows where everything is on the CPU."""

    def __init__(self, stalls):
        self.stalls = stalls

    def __torch_function__(self, function, types, arguments=(), options=None):
        options = options or {}
        name = getattr(function, "__name__", "")
        from_tensor = arguments and isinstance(arguments[0], torch.Tensor)
        if (
            name in _TO_THE_CPU
            or (name in _FROM_PYTHON and not (name == "asarray" and from_tensor))
            or (name == "as_tensor" and not from_tensor)
            or (name in _FACTORIES and "device" not in options and "out" not in options)
            or (
                name == "to"
                and any(isinstance(one, str | torch.device) for one in (*arguments[1:], *options.values()))
            )
        ):
            self.stalls.tell(name)
        return function(*arguments, **options)


class _Operations(TorchDispatchMode):
    """Operations that need a value on the CPU, autograd's own among them."""

    def __init__(self, stalls):
        super().__init__()
        self.stalls = stalls

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        name = operation._schema.name.removeprefix("aten::")
        if name in _WAITS or (name == "repeat_interleave" and "output_size" not in (options or {})):
            self.stalls.tell(name)
        elif name.startswith(("index", "_index_put", "_unsafe_index")) and isinstance(
            arguments[1], list | tuple
        ):
            if any(one is not None and one.dtype in (torch.bool, torch.uint8) for one in arguments[1]):
                self.stalls.tell("a mask as an index")
        elif name == "lift_fresh" and arguments[0].dim() > 0:
            self.stalls.tell("a list as an index")
        return operation(*arguments, **(options or {}))


STALLING = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x.sum()),
    "if": lambda x: 1 if (x > 0).any() else 0,
    "nonzero": torch.nonzero,
    "where without values": lambda x: torch.where(x > 0),
    "mask": lambda x: x[x > 0],
    "mask to write": lambda x: x.__setitem__(x > 0, 0.0),
    "list": lambda x: x[[0, 1]],
    "unique": torch.unique,
    "to the CPU": lambda x: x.cpu(),
    "to another device": lambda x: x.to(torch.device("cpu")),
    "to numpy": lambda x: x.numpy(),
    "a tensor of Python numbers": lambda x: x * torch.tensor([1.0, 2.0, 3.0]),
    "a tensor of numpy": lambda x: x + torch.from_numpy(np.ones(3, np.float32)),
    "indices made on the CPU": lambda x: x[torch.arange(3)],
    "random numbers made on the CPU": lambda x: x + torch.rand(3),
    "a mask behind autograd": lambda x: x.requires_grad_(True)[x.detach() > 0].sum().backward(),
}  # fmt: skip

FLOWING = {
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "an index": lambda x: x[x.argsort()],
    "made on the device": lambda x: torch.rand(3, device=x.device) + torch.zeros_like(x) + x.new_zeros(3),
    "numbers": lambda x: (2.0 * x + 1).clamp_min(0),
    "another type": lambda x: x.to(torch.float64),
    "shapes": lambda x: x.reshape(len(x), 1).expand(3, 2).split(2),
    "gradients": lambda x: torch.autograd.grad((x.requires_grad_(True) ** 2).sum(), x),
}  # fmt: skip


@pytest.mark.parametrize("what", STALLING)
def test_what_makes_a_gpu_wait_or_copy_is_found(what):
    x = torch.tensor([1.0, -2.0, 3.0])
    with Stalls() as stalls:
        stalls.step()
        STALLING[what](x)
    assert stalls.found[1], what
    assert "test_no_stall.py:" in stalls.found[1][0]


@pytest.mark.parametrize("what", FLOWING)
def test_what_flows_is_not(what):
    x = torch.tensor([1.0, -2.0, 3.0])
    with Stalls() as stalls:
        stalls.step()
        FLOWING[what](x)
    assert not stalls.found[1]


class Counting(nn.Module):
    """A network each of whose passes begins a step."""

    def __init__(self, stalls):
        super().__init__()
        self.stalls = stalls
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))

    def forward(self, images):
        self.stalls.step()
        return self.layers(images)


class MarkedSteps(Progress):
    """Progress that begins a step of ``stalls`` wherever a loop begins one."""

    def __init__(self, stalls):
        super().__init__()
        self.stalls = stalls

    def steps(self, total, label, start=0):
        for step in super().steps(total, label, start):
            self.stalls.step()
            yield step


def images_and_labels(count):
    draws = torch.Generator().manual_seed(0)
    return torch.rand(count, 1, 8, 8, generator=draws), torch.randint(3, (count,), generator=draws)


def attack_by_pgd(stalls, folder):
    images, labels = images_and_labels(40)
    model, ball = Counting(stalls), Ball(0.3)
    with stalls:
        pgd(model, images, labels, ball, images.clone(), loss="margin", steps=60, step_size=0.01)


def attack_by_ascend(stalls, folder):
    images, labels = images_and_labels(40)
    model = Counting(stalls)
    with stalls:
        ascend(
            lambda points: nn.functional.cross_entropy(model(points), labels, reduction="none"),
            images, images - 0.1, images + 0.1, steps=20, step_size=0.01,
        )  # fmt: skip


def run_in(folder, stalls):
    spec = RunSpec(suite="stalls", experiment="stalls", run="one")
    run = Run(folder, spec, MadeFrom(), torch.device("cpu"))
    run.progress = MarkedSteps(stalls)
    return run


def splits(count):
    images, labels = images_and_labels(count)
    return Split((255 * images).to(torch.uint8).numpy(), labels.numpy())


def train_by(name, epochs=1, batches=16, **settings):
    def trained(stalls, folder):
        data = ImageDataset("stalls", splits(8 * batches), splits(8), 3, "")
        plan = Training(epochs=epochs, batch_size=8, learning_rate=1e-3)
        run = run_in(folder, stalls)
        with stalls:
            train("convnet-small", make_method(name, settings), data, plan, run, seed=0, eps=0.1)

    return trained


def separate_by(loss, seeds=(0,), steps=40, **settings):
    def separated(stalls, folder):
        training = figure2.Training(steps=steps, batch_size=8)
        spec = figure2.Spec(
            suite="stalls", experiment="figure2", run="one", name=loss, dataset="digits", fraction=1.0, loss=loss,
            loss_settings=settings, seeds=list(seeds), evaluate_on="test", training=training,
        )  # fmt: skip
        run = run_in(folder, stalls)
        with stalls:
            figure2.learn(spec, seeds, splits(64), splits(8), 3, run, [], None)

    return separated


def fit_by(method, loss_of, rows_of=lambda points: points):
    def fitted(stalls, folder):
        points = nn.functional.normalize(torch.randn(500, 3))
        if isinstance(method, AtlasNetMethod):
            network = AtlasNet(2, "square", 16, 16)
        elif isinstance(method, LevelSet):
            network = DetailedMLP.around(points, [0.2, 0.1], ImplicitMLP(32, 3))
        else:
            network = ImplicitMLP(32, 3, activation="softplus")
        loss, rows, run = loss_of(method, network, points), rows_of(points), run_in(folder, stalls)
        with stalls:
            fit(network, loss, rows, method.training, 0, run)

    return fitted


# The first and the last of 16 steps look at numbers. What else a loop looks at, now and then, is the same for all its
# methods: the cheapest of them go on past it.
SHORT, LONG = (SurfaceTraining(steps=steps, batch=100) for steps in (16, 40))
LOOPS = {
    "PGD": attack_by_pgd,
    "ascend": attack_by_ascend,
    "standard": train_by("standard", epochs=2, batches=30),
    "Madry": train_by("madry", eps=0.1, steps=3),
    "TRADES": train_by("trades", eps=0.1, beta=1.0, steps=3),
    "ours": train_by("ours", eps_correct=0.1, eps_wrong=0.1, eps_attack=0.1, steps=3, lost_weight=1.0),
    "MMA": train_by("mma", eps_max=0.1, steps=3),
    "MART": train_by("mart", eps=0.1, steps=3),
    "DyART": train_by("dyart", radius=0.1, steps=3, burn_in_epochs=0),
    "ours, L∞ distance": train_by("ours-linf", eps=0.1, wanted=0.12, steps=3),
    "ours, outer level": train_by("ours-level", eps=0.1, steps=3),
    "large margin": train_by("large-margin", gamma=0.1),
    "Figure 2, cross-entropy": separate_by("cross_entropy"),
    "Figure 2, hinge": separate_by("hinge"),
    "Figure 2, geometric SVM": separate_by("geometric_svm", steps=16, max_iterations=4),
    "Figure 2, cross-entropy, seeds together": separate_by("cross_entropy", (0, 1, 2)),
    "Figure 2, hinge, seeds together": separate_by("hinge", (0, 1, 2)),
    "Figure 2, geometric SVM, seeds together": separate_by(
        "geometric_svm", (0, 1, 2), steps=16, max_iterations=4
    ),
    "surfaces, level sets": fit_by(
        LevelSet(training=SHORT),
        lambda method, network, points: level_set_loss(method.sampling, network, points),
    ),
    "surfaces, IGR": fit_by(Igr(training=LONG), _igr_loss, lambda points: _rows(points, 50, True)),
    "surfaces, AtlasNet": fit_by(
        AtlasNetMethod(training=LONG), lambda method, network, points: _atlas_loss(network, points)
    ),
}


@pytest.fixture(autouse=True)
def _as_on_a_gpu(monkeypatch):
    """Take the ways that the code takes on a GPU."""

    def all_rows(flags, members=1):
        return torch.arange(len(flags), device=flags.device)

    for module in [module for name, module in sys.modules.items() if name.startswith("nls.")]:
        if hasattr(module, "rows_where"):
            monkeypatch.setattr(module, "rows_where", all_rows)
    monkeypatch.setitem(STEPS_BETWEEN_LOOKS, "cpu", STEPS_BETWEEN_LOOKS["cuda"])
    monkeypatch.setattr(geometric_svm, "_with_places", lambda network, points: (network, lambda places: ()))


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_stalls_in_one_step_of_eight_at_most(loop, tmp_path):
    stalls = Stalls()
    LOOPS[loop](stalls, tmp_path)
    assert len(stalls.found) > 10
    assert stalls.share() <= 1 / 8, f"{loop}:{stalls}"
