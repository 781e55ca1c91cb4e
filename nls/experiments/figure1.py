"""Figure 1: decision boundaries of a toy set in the plane under four losses (Section 3, Figure 1)."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from skimage.measure import find_contours
from torch import Tensor, nn

from nls.engine.files import written_whole
from nls.engine.optimizers import Adam
from nls.engine.runs import Run
from nls.engine.seeds import numpy_stream, stream_seed
from nls.engine.settings import RunSpec, Settings
from nls.engine.state import Part, restore, snapshot
from nls.engine.steps import require_finite
from nls.experiments.common import Common, ExperimentConfig, Seed
from nls.networks.mlp import mlp
from nls.objectives.binary import BinaryLoss, CrossEntropy
from nls.objectives.boundary_distance import ORDER, BoundaryDistance
from nls.objectives.geometric_svm import GeometricSVM

Panel = Literal["cross_entropy", "linf", "l2", "geometric_svm"]
HALF_WIDTH = 1.2
GRID = 401


class Training(Settings):
    """How each panel's network is trained, and on what."""

    seed: Seed = Field(0, description="seed of points and initialisation")
    points_per_class: int = Field(30, ge=2, le=10_000, description="training points of each class")
    # Of the square's points 3 in 100 are farther away than 0.8, and none is than 1.
    gap: float = Field(0.14, gt=0, le=0.8, description="least distance of a point to the true boundary")
    width: int = Field(64, ge=1, description="units of a hidden layer")
    depth: int = Field(3, ge=1, description="hidden layers")
    steps: int = Field(800, ge=1, description="training steps, each on all points")
    learning_rate: float = Field(
        2e-3, gt=0, description="learning rate of Adam at the start; it falls to 0 as a cosine"
    )
    eps_linf: float = Field(0.13, gt=0, description="ε of panel (b): distance kept, in L∞")
    eps_l2: float = Field(0.16, gt=0, description="ε of panel (c): distance kept, in L2")
    regularization: float = Field(0.02, ge=0, description="λ of Eq. 11 in panel (d)")


class Config(ExperimentConfig):
    """Settings of Figure 1."""

    training: Training = Field(Training(), description="how each panel's network is trained")


class Spec(RunSpec):
    """One panel."""

    experiment: Literal["figure1"]
    panel: Panel
    training: Training


def expand(config: Config, common: Common) -> list[Spec]:
    """Return one run a panel."""
    panels: tuple[Panel, ...] = ("cross_entropy", "linf", "l2", "geometric_svm")
    return [
        Spec(**common.base("figure1", panel, config.threads), panel=panel, training=config.training)
        for panel in panels
    ]


def run(spec: Spec, run: Run) -> dict[str, Any]:
    """Train the panel's network, keep its field on a grid, and measure the smallest margin."""
    settings = spec.training
    points, labels = toy_points(settings.seed, settings.points_per_class, settings.gap)
    torch.manual_seed(stream_seed(settings.seed, "initialisation"))
    network = mlp(2, 1, settings.width, settings.depth).to(run.device)
    optimizer = Adam(network.parameters(), settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    loss_of = _loss(spec.panel, settings)
    x = torch.tensor(points, dtype=torch.float32, device=run.device)
    y = torch.tensor(labels, dtype=torch.float32, device=run.device)

    parts: dict[str, Part] = {"network": network, "optimizer": optimizer, "schedule": schedule}
    start = 0
    if (saved := run.resume()) is not None:
        start = saved["step"]
        restore(parts, saved)
    for step in run.progress.steps(settings.steps, spec.panel, start):
        run.save_if_due(partial(_state, step, parts))
        loss = loss_of(network, x, y)
        value = require_finite(loss, step=step, seed=settings.seed)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 10 == 0:
            run.history.append({"step": step, "loss": value})

    field = field_on_grid(network, run.device)
    with written_whole(run.directory / "panel.npz") as temporary:
        np.savez(temporary, field=field, points=points, labels=labels, half_width=HALF_WIDTH)
    run.save_weights(network.state_dict())
    with torch.no_grad():
        margins = (y * network(x).flatten()).cpu().numpy()
    return {
        "training_accuracy": float((margins > 0).mean()),
        "smallest_margin_linf": smallest_margin(field, points, margins, "linf"),
        "smallest_margin_l2": smallest_margin(field, points, margins, "l2"),
        "eps": {"linf": settings.eps_linf, "l2": settings.eps_l2}.get(spec.panel),
    }


def _state(step: int, parts: Mapping[str, Part]) -> dict[str, Any]:
    return {"step": step} | snapshot(parts)


def toy_points(
    seed: int, points_per_class: int, gap: float
) -> tuple[Float[np.ndarray, "n 2"], Int[np.ndarray, " n"]]:
    """Return points of the square [−1, 1]² and labels ±1, at least ``gap`` away from a sine curve between them."""
    random = numpy_stream(seed, "toy points")
    along = np.linspace(-1.5, 1.5, 3001)
    curve = np.stack([along, _true_boundary(along)], axis=1)
    chosen: dict[int, list[np.ndarray]] = {-1: [], 1: []}
    while min(len(points) for points in chosen.values()) < points_per_class:
        point = random.uniform(-1, 1, 2)
        label = 1 if point[1] > _true_boundary(point[0]) else -1
        far = np.linalg.norm(curve - point, axis=1).min() > gap
        if far and len(chosen[label]) < points_per_class:
            chosen[label].append(point)
    points = np.array(chosen[-1] + chosen[1])
    return points, np.repeat([-1, 1], points_per_class)


def _true_boundary(x: Any) -> Any:
    return 0.45 * np.sin(3.5 * x)


def _loss(panel: Panel, settings: Training) -> BinaryLoss:
    losses: dict[Panel, BinaryLoss] = {
        "cross_entropy": CrossEntropy(),
        "linf": BoundaryDistance(settings.eps_linf, "linf"),
        "l2": BoundaryDistance(settings.eps_l2, "l2"),
        "geometric_svm": GeometricSVM(settings.regularization),
    }
    return losses[panel]


@torch.no_grad()
def field_on_grid(network: nn.Module, device: torch.device) -> Float[np.ndarray, "grid grid"]:
    """Return F on the grid of the square ``[−HALF_WIDTH, HALF_WIDTH]²``, first axis x."""
    axis = torch.linspace(-HALF_WIDTH, HALF_WIDTH, GRID, device=device)
    values: Tensor = network(torch.cartesian_prod(axis, axis))
    return values.reshape(GRID, GRID).cpu().numpy()


def smallest_margin(
    field: Float[np.ndarray, "grid grid"],
    points: Float[np.ndarray, "n 2"],
    margins: Float[np.ndarray, " n"],
    norm: Literal["linf", "l2"],
) -> float | None:
    """Return the least signed distance of a point to the zero contour, negative where a point is misclassified.

    The contour's vertices lie on the grid's edges, so the figure is right to half a cell, 0.003. None where
    the square holds no boundary.
    """
    contours = find_contours(field, 0.0)
    if not contours:
        return None
    boundary = np.concatenate(contours) * (2 * HALF_WIDTH / (GRID - 1)) - HALF_WIDTH
    apart = np.linalg.norm(points[:, None] - boundary, ord=ORDER[norm], axis=2).min(axis=1)
    return float((np.sign(margins) * apart).min())
