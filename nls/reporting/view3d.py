"""Clouds and surfaces side by side in any browser, under one camera; the page holds all that it needs."""

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float

from nls.reporting.pages import page
from nls.reporting.render import POINTS, SURFACE, poly

# What a page with a dozen meshes can hold in a few megabytes, and a phone can turn.
_FACES, _POINTS = 12_000, 8_000
# The longest side of the common box, in the units in which the page's camera is 1.7 away.
_SIZE = 1.0
# From ahead, above and the left.
_LIGHT = {"x": -60_000, "y": -100_000, "z": 70_000}


@dataclass(frozen=True)
class Panel:
    """One view.

    Attributes:
        name: what stands above it.
        figures: what is told below the name.
        shape: a mesh, or a cloud (n, 3); y points up.
        shown: whether it is there before anybody asks for it.
    """

    name: str
    figures: str
    shape: trimesh.Trimesh | Float[np.ndarray, "n 3"]
    shown: bool = True


def view_page(title: str, panels: Sequence[Panel]) -> str:
    """Return a page that shows all panels under one camera: by mouse, touch, keys or buttons.

    Meshes are decimated to 12,000 faces by quadric error (Garland and Heckbert 1997), clouds thinned to 8,000 points.
    """
    from plotly.offline import get_plotlyjs

    corners = np.concatenate([_vertices(panel).reshape(-1, 3) for panel in panels])
    low, high = _upright(corners).min(axis=0), _upright(corners).max(axis=0)
    half = np.full(3, 1e-9) + (high - low) / 2
    scene = {
        f"{name}axis": {"visible": False, "range": [float(middle - reach), float(middle + reach)]}
        for name, middle, reach in zip("xyz", (low + high) / 2, half, strict=True)
    }
    aspect = _SIZE * half / half.max()
    scene["aspectratio"] = dict(zip("xyz", aspect.tolist(), strict=True))
    views = [
        {"name": panel.name, "figures": panel.figures, "shown": panel.shown, "trace": _trace(panel)}
        for panel in panels
    ]
    return page(
        "view3d.html",
        title=title,
        views=_packed(json.dumps({"scene": scene, "views": views})),
        library=_packed(get_plotlyjs()),
    )


def _vertices(panel: Panel) -> Float[np.ndarray, "n 3"]:
    return np.asarray(panel.shape.vertices if isinstance(panel.shape, trimesh.Trimesh) else panel.shape)


def _upright(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Return points whose y points up with z up, as Plotly's turntable has it."""
    return np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1)


def _trace(panel: Panel) -> dict[str, Any]:
    if not isinstance(panel.shape, trimesh.Trimesh):
        points = panel.shape[:: -(-len(panel.shape) // _POINTS)]
        marker = {"size": 1, "color": POINTS, "line": {"width": 0}}
        return {"type": "scatter3d", "mode": "markers", "marker": marker} | _columns("xyz", _upright(points))
    surface = poly(panel.shape)
    if surface.n_cells > _FACES:
        surface = surface.decimate(1 - _FACES / surface.n_cells)
    faces = np.asarray(surface.faces).reshape(-1, 4)[:, 1:].astype(np.uint32)
    lighting = {"ambient": 0.5, "diffuse": 0.75, "specular": 0.1, "roughness": 0.6}
    return (
        {"type": "mesh3d", "color": SURFACE, "lighting": lighting, "lightposition": _LIGHT}
        | _columns("xyz", _upright(np.asarray(surface.points)))
        | _columns("ijk", faces)
    )


def _columns(names: str, values: np.ndarray) -> dict[str, Any]:
    """Return each column in Plotly's binary form."""
    kind, name = (np.uint32, "u4") if values.dtype.kind == "u" else (np.float32, "f4")
    return {
        axis: {"dtype": name, "bdata": base64.b64encode(column.astype(kind).tobytes()).decode()}
        for axis, column in zip(names, values.T, strict=True)
    }


def _packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
