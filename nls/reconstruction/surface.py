"""What every method of reconstruction is given, and what it returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, runtime_checkable

import torch
import trimesh
from jaxtyping import Float
from torch import Tensor, nn

from nls.engine.seeds import torch_stream
from nls.geometry.meshing import mesh_zero_level, without_small_pieces
from nls.geometry.octree import Grid
from nls.geometry.refinement import refined
from nls.levelset import values_and_jacobian
from nls.reconstruction.session import SurfaceSession
from nls.reconstruction.training import Loss, Scheduled, Training, fit

# Of the area: a tenth of a hand's, on a person.
_SMALLEST_PIECE = 1e-3


@dataclass(frozen=True)
class Surface:
    """A method's result, in the unit ball.

    Attributes:
        mesh: the surface.
        network: the trained network; None without one.
        figures: further numbers, such as the steps.
    """

    mesh: trimesh.Trimesh
    network: nn.Module | None = None
    figures: dict[str, float] = field(default_factory=dict)


class SurfaceMethod(Protocol):
    """A method with its settings."""

    def surface(
        self, points: Float[Tensor, "n 3"], resolution: int, seed: int, session: SurfaceSession
    ) -> Surface:
        """Return the surface that points of the unit ball sample.

        ``resolution`` is the number of nodes of the meshing grid along an axis, for methods with a level set.
        torch's own random stream is seeded for the initialisation of a network.
        """


@runtime_checkable
class OrientedMethod(Protocol):
    """A method that can use normals."""

    def oriented_surface(
        self,
        points: Float[Tensor, "n 3"],
        normals: Float[Tensor, "n 3"],
        resolution: int,
        seed: int,
        session: SurfaceSession,
    ) -> Surface:
        """Return the surface that points with unit normals sample; see :class:`SurfaceMethod`."""


def mesh_level_set(network: nn.Module, resolution: int, device: torch.device) -> tuple[trimesh.Trimesh, int]:
    """Return the zero level set of a network in the unit ball, and how many small pieces of it were dropped.

    Every method with a level set drops the pieces with less than a thousandth of the area, which its caller tells.
    Most of them are smaller than the grid's cells; they lie where few points are, such as between toes. What is left
    is refined.

    Raises:
        NoSurfaceError: the level set does not cross the grid.
    """
    grid = Grid(resolution)
    mesh, dropped = without_small_pieces(mesh_zero_level(network, grid, device), _SMALLEST_PIECE)
    return refined(mesh, network, grid.spacing, device), dropped


def trained_surface(
    network: nn.Module,
    loss_of: Loss,
    rows: Float[Tensor, "n c"],
    training: Training,
    resolution: int,
    seed: int,
    session: SurfaceSession,
    before_step: Callable[[float], None] | None = None,
    optimizers: Sequence[Scheduled] | None = None,
) -> Surface:
    """Train a network of one output and return its level set, which the session may look at on the way.

    The first three columns of ``rows`` are the cloud's points; ``resolution`` is the number of nodes of the meshing
    grid along an axis. All else is what :func:`fit` takes.

    Raises:
        NoSurfaceError: the level set does not cross the grid.
        RunError: the training diverged.
    """
    points = rows[:, :3]

    def mesh_now() -> trimesh.Trimesh:
        return mesh_level_set(network, resolution, points.device)[0]

    look = partial(session.look, mesh=mesh_now)
    figures = fit(network, loss_of, rows, training, seed, session, look, before_step, optimizers)
    mesh, dropped = mesh_level_set(network, resolution, points.device)
    if dropped:
        session.note(
            f"dropped {dropped} pieces of the surface with less than {_SMALLEST_PIECE:.1%} of its area each"
        )
    told = {"eikonal_error": eikonal_error(network, points, seed), "dropped_pieces": dropped}
    return Surface(mesh, network, figures | told)


def eikonal_error(network: nn.Module, points: Float[Tensor, "n 3"], seed: int) -> float:
    """Return the mean of ``|‖∇F‖ − 1|`` at points near the cloud: 0 for a signed distance."""
    draws = torch_stream(seed, "eikonal", device=points.device)
    chosen = torch.randint(len(points), (5000,), generator=draws, device=points.device)
    noise = torch.randn(5000, points.shape[1], generator=draws, device=points.device)
    _, jacobian = values_and_jacobian(network, points[chosen] + 0.01 * noise)
    return float((torch.linalg.vector_norm(jacobian[:, 0], dim=1) - 1).abs().mean())
