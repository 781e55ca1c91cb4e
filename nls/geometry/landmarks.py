"""Finger tips and nose of the two templates whose vertices mean the same place on every body."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import trimesh
from jaxtyping import Float
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from nls.errors import UserError


@dataclass(frozen=True)
class Landmarks:
    """Indices of vertices: the tip of the nose, and of the fingers from the thumb on, of the left and right hand."""

    nose: int
    fingertips: tuple[int, ...]


# By the number of vertices of the template.
_TEMPLATES = {
    # anny's body without eyes and tongue: from its bones in the rest pose.
    13_348: Landmarks(297, (9316, 8563, 8755, 8950, 9139, 2664, 1911, 2103, 2298, 2487)),
    # SMPL's template, which FAUST's registrations are made with: the vertices that the smplx package publishes as
    # landmarks (its vertex_ids.py).
    6_890: Landmarks(332, (2746, 2319, 2445, 2556, 2673, 6191, 5782, 5905, 6016, 6133)),
}
# A finger's tip is the farthest point from the nose, along the surface, of all within this many metres.
_AROUND = 0.015
_TOLERANCE = 0.01


def landmarks_of(truth: trimesh.Trimesh) -> Landmarks | None:
    """Return the landmarks of a body made with a known template; None for any other mesh.

    Raises:
        UserError: the mesh has as many vertices as a template, but the finger tips are not where fingers end.
    """
    found = _TEMPLATES.get(len(truth.vertices))
    if found is not None and not _at_the_ends(truth, found):
        raise UserError(
            f"the truth has {len(truth.vertices)} vertices like a known body, but its finger tips are not at the"
            " ends of fingers: it is another template, or is not in metres"
        )
    return found


def lengths_along_edges(
    mesh: trimesh.Trimesh, starts: Sequence[int], limit: float = math.inf
) -> Float[np.ndarray, "s v"]:
    """Return the lengths of the shortest ways along edges from some vertices to all, infinite beyond ``limit``."""
    graph = coo_matrix((mesh.edges_unique_length, mesh.edges_unique.T), shape=(len(mesh.vertices),) * 2)
    return dijkstra(graph, directed=False, indices=starts, limit=limit)


def _at_the_ends(truth: trimesh.Trimesh, landmarks: Landmarks) -> bool:
    from_nose, *from_tips = lengths_along_edges(truth, [landmarks.nose, *landmarks.fingertips])
    return all(
        from_nose[tip] > from_nose[around <= _AROUND].max() - _TOLERANCE and 0.3 < from_nose[tip] < 3
        for tip, around in zip(landmarks.fingertips, from_tips, strict=True)
    ) and bool(np.isfinite(from_nose).all())
