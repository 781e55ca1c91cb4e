"""``nls reconstruct`` from Python: a cloud in, a mesh in the same coordinates out."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from torch import nn

from nls.engine.devices import choose_device
from nls.engine.limits import MAX_RESOLUTION, MIN_RESOLUTION
from nls.engine.seeds import numpy_stream, stream_seed
from nls.errors import UserError
from nls.geometry.clouds import FEWEST_POINTS, check_points, unit_normals
from nls.geometry.meshing import Topology, largest_piece, topology, trimmed
from nls.geometry.metrics import distances_to
from nls.reconstruction.frame import Frame
from nls.reconstruction.igr import Igr
from nls.reconstruction.levelset import LevelSet
from nls.reconstruction.methods import Method, NamedMethod, method_named
from nls.reconstruction.poisson import Poisson
from nls.reconstruction.session import SurfaceSession, UnsavedSession
from nls.reconstruction.surface import OrientedMethod

Quality = Literal["fast", "default", "fine"]


@dataclass(frozen=True)
class _Level:
    """What a quality means: a share of the method's steps, levels of Poisson's octree, nodes of the grid."""

    steps: float
    deeper: int
    resolution: int


QUALITIES: dict[str, _Level] = {
    "fast": _Level(1 / 2, -1, 192),
    "default": _Level(1, 0, 384),
    "fine": _Level(2, 1, 512),
}


@dataclass(frozen=True)
class Reconstruction:
    """A reconstructed surface.

    Attributes:
        mesh: in the cloud's coordinates.
        topology: its pieces, and whether it is closed.
        points: how many points of the cloud were used.
        network: the trained network, in the unit ball's coordinates; None without one.
        figures: further numbers, such as the steps.
        method: the settings.
        frame: where the unit ball lies in the cloud's coordinates.
    """

    mesh: trimesh.Trimesh
    topology: Topology
    points: int
    network: nn.Module | None
    figures: dict[str, float]
    method: Method
    frame: Frame


def reconstruct(
    points: Float[np.ndarray, "n 3"],
    method: str = "levelset",
    *,
    normals: Float[np.ndarray, "n 3"] | None = None,
    quality: Quality = "default",
    steps: int | None = None,
    resolution: int | None = None,
    max_points: int = 100_000,
    trim: float | None = None,
    keep_largest: bool = False,
    device: str = "auto",
    seed: int = 0,
    session: SurfaceSession | None = None,
) -> Reconstruction:
    """Reconstruct the surface that a point cloud samples, by one of :data:`nls.reconstruction.METHODS`.

    Args:
        points: the cloud, in any units.
        method: its name.
        normals: of the points, all outwards or all inwards, for the methods that use them.
        quality: how many of the method's steps, and how fine a grid: see :data:`QUALITIES`.
        steps: training steps; None for those of the quality.
        resolution: nodes of the meshing grid along an axis (methods with a level set); None for that of the quality.
        max_points: a larger cloud is thinned to so many points, at random.
        trim: drop what is farther than this from every point of the cloud, in the cloud's units; None to keep all.
        keep_largest: whether to drop all pieces but the largest; how many were dropped is told.
        device: ``auto``, ``cpu`` or ``cuda``.
        seed: of sampling and initialisation.
        session: what is told and shown on the way, with its device; None for a plain call on ``device``.

    Raises:
        UserError: an unknown method, unusable points, or no surface.
        RunError: the training diverged.
    """
    named = method_named(method)
    if quality not in QUALITIES:
        raise UserError(f"unknown quality {quality!r}: take one of {', '.join(QUALITIES)}")
    settings = _at_quality(named, QUALITIES[quality])
    if steps is not None:
        if isinstance(settings, Poisson):
            raise UserError("method poisson has no training steps: leave out --steps")
        if steps < 1:
            raise UserError(f"steps must be at least 1, not {steps}")
        settings = _with_steps(settings, steps)
    nodes = QUALITIES[quality].resolution if resolution is None else resolution
    if not MIN_RESOLUTION <= nodes <= MAX_RESOLUTION:
        raise UserError(f"resolution must be from {MIN_RESOLUTION} to {MAX_RESOLUTION}, not {nodes}")
    if max_points < FEWEST_POINTS:
        raise UserError(f"max_points must be at least {FEWEST_POINTS}, not {max_points}")
    if trim is not None and not trim > 0:
        raise UserError(f"trim must be a length above 0, not {trim}")
    session = UnsavedSession(choose_device(device)) if session is None else session
    if resolution is not None and not isinstance(settings, LevelSet | Igr):
        session.note(f"method {method} has no meshing grid: the resolution is not used")
    cloud = np.asarray(points, dtype=np.float64)
    return reconstruct_with(
        settings,
        cloud,
        nodes,
        max_points,
        seed,
        session,
        normals=normals,
        trim=trim,
        keep_largest=keep_largest,
    )


def reconstruct_with(
    method: Method,
    points: Float[np.ndarray, "n 3"],
    resolution: int,
    max_points: int,
    seed: int,
    session: SurfaceSession,
    *,
    normals: Float[np.ndarray, "n 3"] | None = None,
    trim: float | None = None,
    keep_largest: bool = False,
) -> Reconstruction:
    """Reconstruct with the given settings; see :func:`reconstruct`.

    The method sees the cloud centred and scaled into the unit ball; the mesh is in the cloud's own coordinates.

    Raises:
        UserError: unusable points or normals, normals for a method that uses none, or no surface.
        RunError: the training diverged.
    """
    check_points(points, "the cloud")
    frame = Frame.of(points)
    used = np.arange(len(points))
    if len(points) > max_points:
        used = numpy_stream(seed, "thinning").permutation(len(points))[:max_points]
    unit = torch.as_tensor(frame.inside(points[used]), dtype=torch.float32, device=session.device)
    torch.manual_seed(stream_seed(seed, "initialisation"))
    if normals is None:
        found = method.surface(unit, resolution, seed, session)
    elif isinstance(method, OrientedMethod):
        known = torch.as_tensor(
            unit_normals(normals, points, "the cloud")[used], dtype=unit.dtype, device=session.device
        )
        found = method.oriented_surface(unit, known, resolution, seed, session)
    else:
        raise UserError(f"method {method.method} uses no normals: leave them out (--normals)")
    mesh = found.mesh
    mesh.vertices = frame.outside(np.asarray(mesh.vertices, dtype=np.float64))
    if trim is not None:
        mesh = trimmed(mesh, distances_to(points, np.asarray(mesh.vertices)), trim)
        if not len(mesh.faces):
            raise UserError(f"no part of the surface is within {trim:g} of the points: trim less (--trim)")
    if keep_largest:
        mesh = _largest(mesh, session)
    return Reconstruction(mesh, topology(mesh), len(used), found.network, found.figures, method, frame)


def _at_quality(settings: NamedMethod, level: _Level) -> NamedMethod:
    if isinstance(settings, Poisson):
        return settings.model_copy(update={"depth": settings.depth + level.deeper})
    return _with_steps(settings, max(1, round(settings.training.steps * level.steps)))


def _with_steps(settings: NamedMethod, steps: int) -> NamedMethod:
    assert not isinstance(settings, Poisson)
    return settings.model_copy(update={"training": settings.training.model_copy(update={"steps": steps})})


def _largest(mesh: trimesh.Trimesh, session: SurfaceSession) -> trimesh.Trimesh:
    """Drop all pieces but the largest, and say so."""
    kept, dropped = largest_piece(mesh)
    if dropped:
        share = 1 - kept.area / mesh.area
        session.note(f"dropped {dropped} pieces with {share:.2%} of the area")
    return kept
