"""Whether a device computes in float32 what the CPU computes in float64: losses, attacks, distances, projections.

Both get the same weights, inputs and random draws. A search by signs of gradients takes other steps where a gradient
is almost 0, so what follows a search is compared more loosely than what is one formula.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from benchmarks.inputs import classifier, images, scan, separator
from nls.attacks import Ball, ascend, pgd
from nls.geometry.hull import supporting_planes
from nls.geometry.neighbours import Neighbours
from nls.levelset import class_margin, false_position, project
from nls.networks.implicit import ImplicitMLP
from nls.objectives.base import Moment
from nls.objectives.binary import CrossEntropy, Hinge
from nls.objectives.chamfer import squared_chamfer
from nls.objectives.classifiers import make_method
from nls.objectives.geometric_svm import GeometricSVM
from nls.objectives.igr import IgrLoss
from nls.objectives.reconstruction import ReconstructionLoss

CPU = torch.device("cpu")
EXACT, SEARCHED = 1e-3, 5e-2
# The gradient of a ratio to gradients' norms: 2e-3 was seen between float32 and float64 on one CPU.
OF_GRADIENTS = 1e-2
# TRADES starts where its gradient is 0 up to rounding, so its first steps are signs of rounding.
FROM_ROUNDING = 0.5


@dataclass(frozen=True)
class Agreement:
    """One comparison.

    Attributes:
        name: what was computed.
        difference: ``‖device − CPU‖ / ‖CPU‖`` of its numbers; of verdicts, the share that differ.
        tolerance: the largest difference that is accepted.
    """

    name: str
    difference: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the difference is within the tolerance; nan is not."""
        return self.difference <= self.tolerance

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and whether it holds."""
        return asdict(self) | {"holds": self.holds}


class SameDraws(TorchFunctionMode):
    """Draws all random numbers in float32 on the CPU, from one stream, whatever device and type asks."""

    def __init__(self) -> None:
        self._stream = torch.Generator().manual_seed(0)

    def __torch_function__(self, function, types, arguments=(), options=None):
        options = dict(options or {})
        name = getattr(function, "__name__", "")
        if name in ("rand_like", "randn_like"):
            like = arguments[0]
            drawn = getattr(torch, name[:-5])(like.shape, generator=self._stream)
            return drawn.to(like)
        if name in ("rand", "randn", "randint") and "generator" in options:
            device, dtype = options.pop("device", CPU), options.pop("dtype", None)
            options["generator"] = self._stream
            drawn = function(*arguments, **options)
            return drawn.to(device, dtype or drawn.dtype)
        return function(*arguments, **options)


Computed = Callable[[torch.device, torch.dtype], Tensor]


def agreements(device: torch.device) -> Iterator[Agreement]:
    """Yield every comparison of a device, in float32, with the CPU in float64."""
    for name, (compute, tolerance) in COMPUTED.items():
        results = []
        for where, dtype in ((CPU, torch.float64), (device, torch.float32)):
            with SameDraws():
                results.append(compute(where, dtype).detach().to(CPU, torch.float64))
        wanted, found = results
        scale = float(wanted.norm()) or 1.0
        yield Agreement(name, float((found - wanted).norm()) / scale, tolerance)


def _method(name: str, settings: dict[str, Any]) -> Computed:
    """Loss and gradient of a training method on ConvNet-4a."""

    def compute(device: torch.device, dtype: torch.dtype) -> Tensor:
        model, x, y = _classified(device, dtype)
        model.train()
        loss = make_method(name, settings)(model, x, y, Moment(0.0, torch.Generator(device)))
        return _with_gradient(loss, model)

    return compute


def _binary(loss_of: Callable[[], Callable[..., Tensor]]) -> Computed:
    """Loss and gradient of a loss of Figure 2."""

    def compute(device: torch.device, dtype: torch.dtype) -> Tensor:
        network = deepcopy(separator(CPU)).to(device, dtype)
        x, y = (part[:32].to(device) for part in images(CPU))
        return _with_gradient(
            loss_of()(network, x.to(dtype), torch.where(y < 5, -1.0, 1.0).to(dtype)), network
        )

    return compute


def _surface(loss_of: Callable[[nn.Module, Tensor, torch.Generator], Tensor]) -> Computed:
    """Loss and gradient of a loss of Table 2."""

    def compute(device: torch.device, dtype: torch.dtype) -> Tensor:
        network, points = _implicit(device, dtype)
        return _with_gradient(loss_of(network, points, torch.Generator(device)), network)

    return compute


def _eq13(network: nn.Module, points: Tensor, draws: torch.Generator) -> Tensor:
    objective = ReconstructionLoss()
    return objective.total(objective(network, points[:400], Neighbours(points), draws))


def _igr(network: nn.Module, points: Tensor, draws: torch.Generator) -> Tensor:
    objective, batch = IgrLoss(), points[:400]
    spacing = Neighbours(points).spacing(50)[:400]
    bounds = points.amin(dim=0), points.amax(dim=0)
    hull = supporting_planes(points)
    return objective.total(objective(network, batch, spacing, None, bounds, hull, draws))


def _verdicts(loss: str) -> Computed:
    """Which images PGD breaks."""

    def compute(device: torch.device, dtype: torch.dtype) -> Tensor:
        model, x, y = _classified(device, dtype, 64)
        start = Ball(0.1).random(x, torch.Generator(device))
        attacked = pgd(model, x, y, Ball(0.1), start, loss=loss, steps=10, step_size=0.01)
        return attacked.broken.to(dtype)

    return compute


def _ascended(device: torch.device, dtype: torch.dtype) -> Tensor:
    model, x, y = _classified(device, dtype)
    points = ascend(lambda p: -class_margin(model(p), y), x, x - 0.1, x + 0.1, steps=10, step_size=0.01)
    return class_margin(model(points), y)


def _projected(device: torch.device, dtype: torch.dtype) -> Tensor:
    network, points = _implicit(device, dtype)
    found = project(network, points[:400], tolerance=1e-4)
    return torch.where(found.converged[:, None], found.points, 0)


def _roots(device: torch.device, dtype: torch.dtype) -> Tensor:
    network, points = _implicit(device, dtype)
    return false_position(lambda p: network(p).flatten(), 0.2 * points[:400], 1.5 * points[:400]).points


def _nearest(device: torch.device, dtype: torch.dtype) -> Tensor:
    points = scan(20_000, CPU).to(device, dtype)
    return Neighbours(points[:15_000]).distances(points[15_000:])


def _squared_chamfer(device: torch.device, dtype: torch.dtype) -> Tensor:
    first, second = scan(8000, CPU).to(device, dtype).tensor_split(2)
    return squared_chamfer(first, second, Neighbours(second))[None]


def _classified(
    device: torch.device, dtype: torch.dtype, count: int = 32
) -> tuple[nn.Module, Tensor, Tensor]:
    x, y = (part[:count].to(device) for part in images(CPU))
    return deepcopy(classifier(CPU)).to(device, dtype), x.to(dtype), y


def _implicit(device: torch.device, dtype: torch.dtype) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    network = ImplicitMLP(64, 4, radius=0.7)
    return network.to(device, dtype), scan(4000, CPU).to(device, dtype)


def _with_gradient(loss: Tensor, model: nn.Module) -> Tensor:
    """Return the loss and its gradient as one vector."""
    gradient = torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(model.parameters()))])
    return torch.cat([loss.detach()[None], gradient])


_EPS = 0.1
COMPUTED: dict[str, tuple[Computed, float]] = {
    "cross-entropy (10 classes)": (_method("standard", {}), EXACT),
    "Madry": (_method("madry", {"eps": _EPS, "steps": 3, "step_size": 0.05}), SEARCHED),
    "TRADES": (_method("trades", {"eps": _EPS, "beta": 6.0, "steps": 3, "step_size": 0.05}), FROM_ROUNDING),
    "ours (Eq. 12)": (
        _method("ours", {"eps_correct": _EPS, "eps_wrong": _EPS, "eps_attack": _EPS, "steps": 5}),
        SEARCHED,
    ),
    "MMA": (_method("mma", {"eps_max": _EPS, "steps": 3}), SEARCHED),
    "large margin": (_method("large-margin", {"gamma": _EPS}), OF_GRADIENTS),
    "cross-entropy (2 classes)": (_binary(CrossEntropy), EXACT),
    "hinge": (_binary(Hinge), EXACT),
    "geometric SVM (Eq. 11)": (_binary(GeometricSVM), SEARCHED),
    "reconstruction (Eq. 13)": (_surface(_eq13), SEARCHED),
    "IGR": (_surface(_igr), EXACT),
    "squared Chamfer (AtlasNet)": (_squared_chamfer, EXACT),
    "PGD on cross-entropy, verdicts": (_verdicts("xent"), SEARCHED),
    "PGD on the margin, verdicts": (_verdicts("margin"), SEARCHED),
    "ascent by signs": (_ascended, SEARCHED),
    "projection (Eq. 4)": (_projected, EXACT),
    "false position": (_roots, EXACT),
    "nearest neighbours": (_nearest, EXACT),
}
