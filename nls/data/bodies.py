"""Ten virtual people: shaped and posed with anny, scanned by the virtual scanner, laid out like FAUST."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int
from tqdm import tqdm

from nls.data.ply import write_ply
from nls.data.scanner import NOISE, POINTS, scan
from nls.data.scans import registration_path, scan_path
from nls.errors import UserError

_ANNY = "0.6.2"

Pose = dict[str, tuple[float, float, float]]


def _both(bone: str, x: float, y: float, z: float) -> Pose:
    """Turn a bone of the left side and, mirrored, the one of the right side."""
    return {f"{bone}.L": (x, y, z), f"{bone}.R": (x, -y, -z)}


@dataclass(frozen=True)
class _Person:
    """A shape (anny's phenotypes, 0..1) and a pose: for each bone a rotation vector in degrees.

    The axes are anny's: x to the person's left, y to the back, z up. The rest pose holds the arms 45 degrees out.
    """

    gender: float
    age: float
    muscle: float
    weight: float
    height: float
    pose: Pose


_PEOPLE = (
    _Person(0.1, 0.67, 0.5, 0.4, 0.5, {}),
    _Person(0.9, 0.67, 0.6, 0.5, 0.6, _both("upperarm01", 0, 25, 0)),
    _Person(0.2, 0.6, 0.4, 0.6, 0.4, _both("upperarm01", 0, -40, 0)),
    _Person(0.8, 0.8, 0.5, 0.7, 0.5, {**_both("upperarm01", 0, -95, 0), **_both("upperleg01", 0, -12, 0)}),
    _Person(
        0.3,
        0.67,
        0.7,
        0.4,
        0.6,
        {
            "upperleg01.L": (-35, 0, 0),
            "lowerleg01.L": (25, 0, 0),
            "upperleg01.R": (20, 0, 0),
            "upperarm01.L": (35, 15, 0),
            "upperarm01.R": (-35, -15, 0),
        },
    ),
    _Person(
        1.0,
        0.5,
        0.8,
        0.4,
        0.7,
        {"spine03": (0, 0, 20), "spine02": (0, 0, 15), **_both("upperarm01", 0, -40, 0), "head": (0, 0, 15)},
    ),
    _Person(
        0.0,
        0.9,
        0.4,
        0.5,
        0.4,
        {
            **_both("upperleg01", -55, -8, 0),
            **_both("lowerleg01", 70, 0, 0),
            **_both("upperarm01", -40, -20, 0),
        },
    ),
    _Person(
        0.7,
        0.67,
        0.5,
        0.3,
        0.8,
        {
            "upperarm01.R": (0, 110, 0),
            "upperarm01.L": (0, 20, 0),
            "lowerarm01.R": (0, 25, 0),
            "neck01": (10, 0, 0),
        },
    ),
    _Person(
        0.4,
        0.6,
        0.6,
        0.8,
        0.5,
        {"spine04": (20, 0, 0), "spine03": (15, 0, 0), **_both("upperarm01", -30, 0, 0), "head": (-15, 0, 0)},
    ),
    _Person(
        0.6,
        0.75,
        0.7,
        0.5,
        0.6,
        {
            "upperleg01.R": (-75, 0, 0),
            "lowerleg01.R": (80, 0, 0),
            **_both("upperarm01", 0, -45, 0),
            **_both("lowerarm01", 0, 0, -20),
        },
    ),
)

# People on whom settings may be chosen: none of them is in the set.
_OTHERS = (
    _Person(0.15, 0.7, 0.45, 0.5, 0.45, {**_both("upperarm01", 0, -30, 0), **_both("lowerarm01", 0, 0, -10)}),
    _Person(
        0.85,
        0.62,
        0.55,
        0.45,
        0.65,
        {**_both("upperarm01", 10, 10, 0), "upperleg01.L": (-25, 0, 0), "lowerleg01.L": (20, 0, 0)},
    ),
    _Person(
        0.5,
        0.8,
        0.5,
        0.65,
        0.5,
        {
            "upperarm01.L": (-20, -60, 0),
            "upperarm01.R": (-20, -10, 0),
            "head": (0, 0, -15),
            **_both("upperleg01", 0, -8, 0),
        },
    ),
    _Person(
        0.05,
        0.6,
        0.6,
        0.35,
        0.6,
        {
            "upperarm01.R": (0, 60, 0),
            "upperarm01.L": (0, -20, 0),
            "lowerarm01.R": (0, 15, 0),
            "spine03": (10, 0, 0),
        },
    ),
)


def body(number: int) -> tuple[Float64[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Return a watertight body: metres, y up, facing +z, standing on y = 0.

    Numbers 0 to 9 are the people of the set. 10 to 13 are others, on whom settings may be chosen.

    Coordinates are rounded to a micrometre, so that the order of a sum on another machine does not show.

    Raises:
        UserError: anny is not installed.
    """
    model = _model()
    person = (*_PEOPLE, *_OTHERS)[number]
    bones = model.bone_labels
    turns = torch.zeros(len(bones), 3, dtype=model.dtype)
    for bone, degrees in person.pose.items():
        turns[bones.index(bone)] = torch.deg2rad(torch.tensor(degrees, dtype=model.dtype))
    shape = {key: getattr(person, key) for key in ("gender", "age", "muscle", "weight", "height")}
    with torch.no_grad():
        vertices = model(_transforms(turns), shape)["vertices"][0].double().numpy()
    vertices, faces = _largest_component(vertices, model.get_triangular_faces().numpy())
    vertices = np.stack([vertices[:, 0], vertices[:, 2], -vertices[:, 1]], axis=1)
    vertices[:, 1] -= vertices[:, 1].min()
    return np.round(vertices, 6), faces


def make_bodies(folder: Path) -> dict[str, Any]:
    """Write ten pairs of scan and registration into ``folder`` and return the receipt's facts."""
    for number in tqdm(range(len(_PEOPLE)), "bodies", disable=None):
        vertices, faces = body(number)
        write_ply(registration_path(folder, number), vertices, faces)
        write_ply(scan_path(folder, number), scan(vertices, faces, seed=number))
    return {"name": "bodies", "source": f"anny {_ANNY}", "points": POINTS, "noise": NOISE}


def _model() -> Any:
    try:
        import anny
    except ImportError as error:
        raise UserError(
            f"the virtual bodies need anny: run `pip install --no-deps anny=={_ANNY}` and fetch again"
        ) from error
    return anny.Anny(skinning_method="lbs")


def _transforms(turns: torch.Tensor) -> torch.Tensor:
    """Return homogeneous matrices (1, bones, 4, 4) of rotation vectors (bones, 3)."""
    import roma

    matrices = torch.eye(4, dtype=turns.dtype).repeat(1, len(turns), 1, 1)
    matrices[0, :, :3, :3] = roma.rotvec_to_rotmat(turns)
    return matrices


def _largest_component(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the connected part with the most vertices (without eyes and tongue)."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(len(vertices),) * 2)
    _, label = connected_components(graph, directed=False)
    kept = label == np.bincount(label[faces].ravel()).argmax()
    new = np.cumsum(kept) - 1
    return vertices[kept], new[faces[kept[faces[:, 0]]]]
