"""Theorem 1: how exact the networks are, what they look like, and how they grow with the number of faces."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import trimesh
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from nls.engine.finished import read_json
from nls.reporting.render import View, render
from nls.reporting.runs import Evidence, RunRecord, missing_notes
from nls.reporting.style import BLUE, RED


def table(evidence: Evidence) -> tuple[pd.DataFrame, list[str]]:
    """Return one row a shape; lengths in diameters of the shape, times of this machine."""
    notes = [
        "Errors are the largest |F| in diameters of the shape; so is the distance from the surface within which "
        "all wrong signs lie (0: there are none).",
        "Components and Euler number: of the shape, of the exact zeros of the function that the network computes "
        "(differences: edges in which these are not the shape), and of the level set extracted on grids of these "
        "resolutions. No grid is asked to resolve the bodies' fingers.",
        "Walls: places where cells of the partition meet away from the zeros, one in each such piece, with the wrong "
        "signs there and the distance from the surface within which these lie.",
        "Seconds and evaluations a second are this machine's, on the threads of the suite's config.",
    ]
    lines = [_line(record) for record in _complete(evidence)]
    return pd.DataFrame(lines), notes + missing_notes(evidence.missing("universality"))


def figure(evidence: Evidence) -> Figure:
    """Draw the exact zero level sets and, if there are bodies of three sizes or more, the growth with the faces."""
    shown = _complete(evidence)
    bodies = [record for record in shown if record.spec["shape"].startswith("body-")]
    panels = len(shown) + 2 * (len(bodies) > 2)
    columns = min(4, max(1, panels))
    rows = -(-max(1, panels) // columns)
    picture, axes = plt.subplots(
        rows, columns, figsize=(3 * columns, 3.2 * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[panels:]:
        axis.set_axis_off()
    for axis, record in zip(axes.flat, shown, strict=False):
        _draw(axis, record)
    if len(bodies) > 2:
        for axis, key, label in (
            (axes.flat[len(shown)], "neurons", "neurons"),
            (axes.flat[len(shown) + 1], "build_seconds", "seconds to build"),
        ):
            _draw_growth(axis, bodies, key, label)
    return picture


def _complete(evidence: Evidence) -> list[RunRecord]:
    return sorted(evidence.complete("universality"), key=lambda record: _numbers(record)["facets"])


def _numbers(record: RunRecord) -> dict[str, Any]:
    timing = read_json(record.directory / "timing.json")
    return {**(record.metrics or {}), **timing}


def _line(record: RunRecord) -> dict[str, Any]:
    numbers, resolutions = _numbers(record), record.spec["resolutions"]
    extracted = ", ".join(
        f"{numbers[f'extracted_components_{r}']} / {numbers[f'extracted_euler_number_{r}']} ({r})"
        for r in resolutions
    )
    return {
        "shape": record.spec["shape"],
        "faces": numbers["facets"],
        "neurons": numbers["neurons"],
        "hidden layers": numbers["depth"],
        "weights": numbers["weights"],
        "error on vertices": f"{numbers['vertex_error']:.1e}",
        "on edges": f"{numbers['edge_error']:.1e}",
        "on facets": f"{numbers['facet_error']:.1e}",
        "signs compared": numbers["sign_points"],
        "wrong signs within": f"{numbers['sign_error_distance']:.1e}",
        "components / Euler number": f"{numbers['components']} / {numbers['euler_number']}",
        "exact zeros": f"{numbers['exact_components']} / {numbers['exact_euler_number']}",
        "differences": numbers["zero_differences"],
        "error on zeros": f"{numbers['zero_error']:.1e}",
        "walls (wrong, within)": f"{numbers['wall_points']} ({numbers['wall_errors']}, "
        f"{numbers['wall_error_distance']:.1e})",
        "extracted": extracted,
        "seconds to build": round(numbers["build_seconds"], 2),
        "evaluations a second": int(round(numbers["evaluations_per_second"], -3)),
    }


def _draw(axis: Axes, record: RunRecord) -> None:
    with np.load(record.directory / "level_set.npz") as level_set:
        vertices, simplices = level_set["vertices"], level_set["simplices"]
    numbers = _numbers(record)
    axis.set_title(record.spec["shape"].replace("_", " "))
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_xlabel(f"{numbers['facets']} faces, {numbers['neurons']} neurons")
    if vertices.shape[1] == 2:
        axis.add_collection(LineCollection(list(vertices[simplices]), colors=BLUE))
        axis.autoscale()
        axis.set_aspect("equal")
    else:
        view = View.of(vertices, "y" if record.spec["shape"].startswith("body-") else "z")
        mesh = trimesh.Trimesh(vertices, simplices, process=False)
        axis.imshow(render(view, (400, 400), mesh=mesh))
        axis.spines[:].set_visible(False)


def _draw_growth(axis: Axes, bodies: list[RunRecord], key: str, label: str) -> None:
    faces = np.array([_numbers(record)["facets"] for record in bodies], dtype=float)
    values = np.array([_numbers(record)[key] for record in bodies], dtype=float)
    exponent, factor = np.polyfit(np.log(faces), np.log(values), 1)
    axis.loglog(faces, values, "o", color=RED)
    axis.loglog(faces, np.exp(factor) * faces**exponent, color=BLUE)
    axis.set_title(f"{label}: faces to the power {exponent:.2f}")
    axis.set_xlabel("faces of the body")
