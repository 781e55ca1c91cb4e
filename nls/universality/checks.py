"""Measures how exactly a network is zero on a hypersurface, has its signs, and is zero nowhere else."""

import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import trimesh
from jaxtyping import Bool, Float, Int
from scipy.ndimage import gaussian_filter
from skimage.measure import find_contours, marching_cubes
from torch import Tensor

from nls.geometry.defects import components, signed_content
from nls.geometry.hypersurface import Hypersurface
from nls.geometry.meshing import topology
from nls.geometry.octree import Grid, sample_volume
from nls.geometry.winding import winding_number
from nls.universality.network import ReLUNetwork, evaluate
from nls.universality.tree import partition
from nls.universality.zeros import Walls, find_walls, zero_set

# Half the side of the extraction's cube, in units in which half the longest side of the bounding box is 1.
_MARGIN = 1.1
# Standard deviation, in cells, of the filter before extraction. Without it the point of a spike, however fine the
# grid, may hold one node and miss the next, which then is a component of its own.
_BLUR = 1.5


def check(
    network: ReLUNetwork,
    surface: Hypersurface,
    points: int = 100_000,
    resolutions: Sequence[int] = (96, 144),
    walls: Walls | None = None,
) -> dict[str, float]:
    """Compare a network with the bounded hypersurface that it represents; equal arguments, equal numbers.

    Args:
        network: from ``represent``.
        surface: triangles in space or segments in the plane, of a bounded solid or of the complement of one.
        points: how many points to compare signs at.
        resolutions: nodes along an axis of the grids that the level set is extracted on.
        walls: of the surface's partition; found if not given.

    Returns:
        Lengths are in units of the surface's diameter.

        - ``vertex_error``, ``edge_error``, ``facet_error``: the largest ``|F|`` on vertices and on random points of
          edges and of facets.
        - ``sign_points``; ``sign_errors``: how many of those points have the wrong sign, by winding number;
          ``sign_error_distance``: the largest distance from the surface of one that has, 0 if none has.
        - ``components``, ``euler_number`` of the surface; in the plane they count closed contours, and the Euler
          number is 0. The same with ``exact_`` before them of the exact zeros of the function that the network
          computes, ``zero_pieces`` of them; ``zero_differences`` is 0 if those are the surface (see ``ZeroSet``).
        - ``zero_error``: the largest ``|F|`` on the corners and centres of those pieces, cut into simplices.
        - ``wall_points``: one point in each piece in which two cells of the partition meet elsewhere;
          ``wall_errors``: at how many of them the network has the wrong sign; ``wall_error_distance``: the largest
          distance from the surface of one of these.
        - components and Euler number with ``extracted_`` before and ``_R`` after them of the level set extracted
          on a grid of resolution R, which must resolve the surface.
        - ``facets``, ``neurons``, ``depth`` (hidden layers), ``weights`` (that are not 0).
    """
    facets = surface.vertices[np.array(surface.facets)]
    numbers: dict[str, float] = {
        "facets": len(facets),
        "neurons": network.neurons,
        "depth": network.depth,
        "weights": network.nonzeros,
        "components": int(components(np.array(surface.facets)).max()) + 1,
        "euler_number": surface.euler_number,
    }
    numbers |= check_signs(network, surface, points)
    numbers |= _zeros(network, surface, facets, walls or find_walls(partition(surface)))
    for resolution in resolutions:
        count, euler = _counted(*extract(network, surface, resolution, _BLUR))
        numbers[f"extracted_components_{resolution}"] = count
        numbers[f"extracted_euler_number_{resolution}"] = euler
    return numbers


def check_signs(network: ReLUNetwork, surface: Hypersurface, points: int = 100_000) -> dict[str, float]:
    """The part of ``check`` that needs no partition: errors on the hypersurface, and signs elsewhere."""
    generator = np.random.default_rng(0)
    facets = surface.vertices[np.array(surface.facets)]
    on_edges = _on_simplices(generator, _edges(facets), 10_000)
    on_facets = _on_simplices(generator, facets, 10_000)
    wrong = _wrong_signs(network, facets, _test_points(generator, surface, facets, points))
    return {
        "vertex_error": _largest(network, surface.vertices) / surface.diameter,
        "edge_error": _largest(network, on_edges) / surface.diameter,
        "facet_error": _largest(network, on_facets) / surface.diameter,
        "sign_points": points,
        "sign_errors": len(wrong),
        "sign_error_distance": float(_distance(wrong, facets).max(initial=0.0)) / surface.diameter,
    }


def evaluations_per_second(network: ReLUNetwork, surface: Hypersurface, points: int = 100_000) -> float:
    """How many points a second the network is evaluated at, in a batch around the surface."""
    corners = surface.vertices
    spread = np.random.default_rng(0).uniform(
        corners.min(axis=0), corners.max(axis=0), (points, surface.dimension)
    )
    batch = torch.from_numpy(spread).to(network.dtype)
    evaluate(network, batch[: points // 10])
    start = time.perf_counter()
    evaluate(network, batch)
    return points / (time.perf_counter() - start)


def _values(network: ReLUNetwork, points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    return evaluate(network, torch.from_numpy(points).to(network.dtype)).double().numpy()


def _largest(network: ReLUNetwork, points: Float[np.ndarray, "n d"]) -> float:
    return float(np.abs(_values(network, points)).max())


def _edges(facets: Float[np.ndarray, "f d d"]) -> Float[np.ndarray, "e 2 d"]:
    """The edges of triangles; a segment is its own."""
    if facets.shape[1] == 2:
        return facets
    return np.concatenate([facets[:, [0, 1]], facets[:, [1, 2]], facets[:, [2, 0]]])


def _on_simplices(
    generator: np.random.Generator, simplices: Float[np.ndarray, "s k d"], count: int
) -> Float[np.ndarray, "n d"]:
    """Points on simplices, as many on a small one as on a large one, uniform within each."""
    chosen = simplices[generator.integers(len(simplices), size=count)]
    weights = generator.dirichlet(np.ones(simplices.shape[1]), size=count)
    return np.einsum("nk,nkd->nd", weights, chosen)


def _test_points(
    generator: np.random.Generator, surface: Hypersurface, facets: Float[np.ndarray, "f d d"], count: int
) -> Float[np.ndarray, "n d"]:
    """Points where signs could go wrong.

    A quarter is uniform in the bounding box and a margin; half is near the surface, displaced from points of facets,
    edges and vertices by 1e-7 to 0.1 diameters; a quarter lies where planes of facets run through each other away
    from those facets, since a plane must not become a zero of its own.
    """
    dimension = surface.dimension
    low, high = surface.vertices.min(axis=0), surface.vertices.max(axis=0)
    box = (low - 0.1 * surface.diameter, high + 0.1 * surface.diameter)
    near, across = count // 2, count // 4
    bases = np.concatenate(
        [
            _on_simplices(generator, facets, near // 2),
            _on_simplices(generator, _edges(facets), near // 4),
            _on_simplices(generator, facets.reshape(-1, 1, dimension), near - near // 2 - near // 4),
        ]
    )
    directions = generator.normal(size=bases.shape)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = surface.diameter * 10 ** generator.uniform(-7, -1, size=(near, 1))
    spread = generator.uniform(*box, size=(across, dimension))
    normals = _normals(facets)
    # Onto one to d random planes at once, by the least step.
    for number in range(1, dimension + 1):
        part = slice((number - 1) * across // dimension, number * across // dimension)
        chosen = generator.integers(len(facets), size=(part.stop - part.start, number))
        residual = np.einsum("nkd,nkd->nk", normals[chosen], facets[chosen, 0] - spread[part, None])
        spread[part] += np.einsum("ndk,nk->nd", np.linalg.pinv(normals[chosen], rcond=1e-3), residual)
    uniform = generator.uniform(*box, size=(count - near - across, dimension))
    return np.concatenate([bases + lengths * directions, spread, uniform])


def _normals(facets: Float[np.ndarray, "f d d"]) -> Float[np.ndarray, "f d"]:
    spans = facets[:, 1:] - facets[:, :1]
    if facets.shape[1] == 3:
        normals = np.cross(spans[:, 0], spans[:, 1])
    else:
        normals = np.column_stack([spans[:, 0, 1], -spans[:, 0, 0]])
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def _wrong_signs(
    network: ReLUNetwork, facets: Float[np.ndarray, "f d d"], points: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "m d"]:
    # The network sees what its type holds of a point, so the winding number must see the same.
    points = torch.from_numpy(points).to(network.dtype).double().numpy()
    values = _values(network, points)
    # The boundary of a complement winds around its body -1 times, and 0 times around the solid.
    least = 0.5 if signed_content(facets) > 0 else -0.5
    inside: Bool[np.ndarray, " n"] = winding_number(points, facets) > least
    return points[np.where(inside, values <= 0, values >= 0)]


def _zeros(
    network: ReLUNetwork, surface: Hypersurface, facets: Float[np.ndarray, "f d d"], walls: Walls
) -> dict[str, float]:
    """The numbers that ``check`` returns about zeros, found without a grid."""
    found = zero_set(walls, surface)
    on_zeros = np.concatenate([walls.corners.reshape(-1, surface.dimension), walls.corners.mean(axis=1)])
    values = _values(network, walls.centres) if len(walls.centres) else np.empty(0)
    wrong = walls.centres[np.where(walls.inside, values <= 0, values >= 0)]
    return {
        "exact_components": found.components,
        "exact_euler_number": found.euler_number,
        "zero_differences": found.differences,
        "zero_pieces": len(walls.zeros),
        "zero_error": _largest(network, on_zeros) / surface.diameter,
        "wall_points": len(walls.centres),
        "wall_errors": len(wrong),
        "wall_error_distance": float(_distance(wrong, facets).max(initial=0.0)) / surface.diameter,
    }


def _distance(
    points: Float[np.ndarray, "n d"], facets: Float[np.ndarray, "f d d"]
) -> Float[np.ndarray, " n"]:
    """The distance of a few points from the nearest facet."""
    distances = np.empty(len(points))
    for i, point in enumerate(points):
        if facets.shape[1] == 3:
            nearest = trimesh.triangles.closest_point(facets, np.broadcast_to(point, (len(facets), 3)))
        else:
            along = facets[:, 1] - facets[:, 0]
            share = np.einsum("fd,fd->f", point - facets[:, 0], along) / np.einsum("fd,fd->f", along, along)
            nearest = facets[:, 0] + np.clip(share, 0, 1)[:, None] * along
        distances[i] = np.linalg.norm(nearest - point, axis=1).min()
    return distances


def extract(
    network: ReLUNetwork, surface: Hypersurface, resolution: int, blur: float = 0.0
) -> tuple[Float[np.ndarray, "v d"], Int[np.ndarray, "s d"]]:
    """Extract the level set in a box around a bounded hypersurface: vertices, and triangles or segments.

    Values are taken on a grid with ``resolution`` nodes along the longest side, and blurred by a Gaussian filter of
    ``blur`` cells.
    """
    low, high = surface.vertices.min(axis=0), surface.vertices.max(axis=0)
    radius = float((high - low).max()) / 2
    # Off centre, or the nodes of the grid would fall on the vertices of symmetrical shapes.
    centre = (low + high) / 2 + radius * np.array([0.0031, 0.0047, 0.0059])[: len(low)]

    def field(points: Tensor, *context: Tensor) -> Tensor:
        return network((torch.from_numpy(centre) + radius * points.double()).to(network.dtype)) / radius

    if surface.dimension == 3:
        volume = gaussian_filter(sample_volume(field, Grid(resolution, _MARGIN)), blur)
        if not volume.min() < 0 < volume.max():
            return np.empty((0, 3)), np.empty((0, 3), dtype=int)
        nodes, simplices, _, _ = marching_cubes(volume, 0.0, gradient_direction="ascent")
    else:
        axis = torch.linspace(-_MARGIN, _MARGIN, resolution, dtype=torch.float64)
        with torch.no_grad():
            values = field(torch.cartesian_prod(axis, axis)).reshape(resolution, resolution).numpy()
        contours = find_contours(gaussian_filter(values, blur), 0.0)
        if not contours:
            return np.empty((0, 2)), np.empty((0, 2), dtype=int)
        # A closed contour repeats its first node; without the repetition its last segment leads back.
        loops = [contour[:-1] for contour in contours]
        nodes = np.concatenate(loops)
        starts = np.cumsum([0] + [len(loop) for loop in loops])
        rings = [np.arange(first, last) for first, last in pairwise(starts)]
        simplices = np.concatenate([np.column_stack([ring, np.roll(ring, -1)]) for ring in rings])
    return centre + radius * (nodes * (2 * _MARGIN / (resolution - 1)) - _MARGIN), simplices


def _counted(vertices: Float[np.ndarray, "v d"], simplices: Int[np.ndarray, "s d"]) -> tuple[int, int]:
    """Components and Euler number of an extracted level set; 0 where the grid is too coarse to see any of it."""
    if not len(simplices):
        return 0, 0
    if simplices.shape[1] == 3:
        found = topology(trimesh.Trimesh(vertices, simplices, process=False))
        return found.components, found.euler
    return int(components(simplices).max()) + 1, len(vertices) - len(simplices)
