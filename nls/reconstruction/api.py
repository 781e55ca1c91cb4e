"""``nls reconstruct`` from Python: a cloud in, a mesh in the same coordinates out."""

from dataclasses import dataclass

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from torch import nn

from nls.engine.devices import choose_device
from nls.engine.seeds import numpy_stream, stream_seed
from nls.errors import UserError
from nls.geometry.clouds import check_points
from nls.geometry.meshing import Topology, largest_component, topology
from nls.reconstruction.frame import Frame
from nls.reconstruction.methods import METHODS, Method
from nls.reconstruction.poisson import Poisson
from nls.reconstruction.session import SurfaceSession, UnsavedSession

MIN_RESOLUTION = 16


@dataclass(frozen=True)
class Reconstruction:
    """A reconstructed surface.

    Attributes:
        mesh: in the cloud's coordinates.
        topology: its pieces, and whether it is closed.
        points: how many points of the cloud were used.
        network: the trained network, in the unit ball's coordinates; None without one.
        figures: further numbers, such as the steps.
    """

    mesh: trimesh.Trimesh
    topology: Topology
    points: int
    network: nn.Module | None
    figures: dict[str, float]


def reconstruct(
    points: Float[np.ndarray, "n 3"],
    method: str = "levelset",
    *,
    steps: int | None = None,
    resolution: int = 256,
    max_points: int = 100_000,
    keep_largest: bool = False,
    device: str = "auto",
    seed: int = 0,
) -> Reconstruction:
    """Reconstruct the surface that a point cloud samples, with the settings of :data:`METHODS`.

    Args:
        points: the cloud, in any units.
        method: one of :data:`METHODS`.
        steps: training steps; None for the method's own number.
        resolution: nodes of the meshing grid along an axis (methods with a level set).
        max_points: a larger cloud is thinned to so many points, at random.
        keep_largest: whether to drop all pieces but the largest; each dropped piece is told.
        device: ``auto``, ``cpu`` or ``cuda``.
        seed: of sampling and initialisation.

    Raises:
        UserError: an unknown method, unusable points, or no surface.
        RunError: the training diverged.
    """
    if method not in METHODS:
        raise UserError(f"unknown method {method!r}: take one of {', '.join(METHODS)}")
    settings = METHODS[method]
    if steps is not None:
        if isinstance(settings, Poisson):
            raise UserError("method poisson has no training steps: leave out --steps")
        if steps < 1:
            raise UserError(f"steps must be at least 1, not {steps}")
        training = settings.training.model_copy(update={"steps": steps})
        settings = settings.model_copy(update={"training": training})
    if resolution < MIN_RESOLUTION:
        raise UserError(f"resolution must be at least {MIN_RESOLUTION}, not {resolution}")
    session = UnsavedSession(choose_device(device))
    return reconstruct_with(
        settings, np.asarray(points, dtype=np.float64), resolution, max_points, keep_largest, seed, session
    )


def reconstruct_with(
    method: Method,
    points: Float[np.ndarray, "n 3"],
    resolution: int,
    max_points: int,
    keep_largest: bool,
    seed: int,
    session: SurfaceSession,
) -> Reconstruction:
    """Reconstruct with the given settings; see :func:`reconstruct`.

    The method sees the cloud centred and scaled into the unit ball; the mesh is in the cloud's own coordinates.
    """
    check_points(points, "the cloud")
    frame = Frame.of(points)
    if len(points) > max_points:
        points = numpy_stream(seed, "thinning").permutation(points)[:max_points]
    unit = torch.as_tensor(frame.inside(points), dtype=torch.float32, device=session.device)
    torch.manual_seed(stream_seed(seed, "initialisation"))
    found = method.surface(unit, resolution, seed, session)
    mesh = found.mesh
    mesh.vertices = frame.outside(np.asarray(mesh.vertices, dtype=np.float64))
    if keep_largest:
        mesh = _largest(mesh, session)
    return Reconstruction(mesh, topology(mesh), len(points), found.network, found.figures)


def _largest(mesh: trimesh.Trimesh, session: SurfaceSession) -> trimesh.Trimesh:
    """Drop all pieces but the largest, and say so."""
    kept = largest_component(mesh)
    dropped = topology(mesh).components - topology(kept).components
    if dropped:
        share = 1 - kept.area / mesh.area
        session.note(f"dropped {dropped} pieces with {share:.2%} of the area")
    return kept
