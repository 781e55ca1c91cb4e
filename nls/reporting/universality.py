"""Theorem 1: how exact the networks are, what they look like, and how they grow with the number of faces."""

from collections.abc import Iterable, Mapping, Sequence
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
from nls.reporting.statistics import with_whole_counts
from nls.reporting.style import BLUE, RED, missing_figure


def table(evidence: Evidence) -> tuple[pd.DataFrame, list[str]]:
    """Return one row a shape and source; lengths in diameters of the shape, times of this machine."""
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
    lines = [
        _line(record, "here", _timing(record)) for record in _in_order(evidence.complete("universality"))
    ]
    lines += [_line(record, "reference", {}) for record in _in_order(evidence.reference("universality"))]
    return with_whole_counts(pd.DataFrame(lines), "evaluations"), notes + missing_notes(
        evidence.missing("universality")
    )


def figure(evidence: Evidence) -> Figure:
    """Draw this machine's exact zero level sets, and how networks grow with the faces of three bodies or more."""
    shown = _in_order(evidence.complete("universality"))
    if not shown:
        return missing_figure("no complete run of Theorem 1")
    bodies = [record for record in shown if record.spec["shape"].startswith("body-")]
    panels = len(shown) + 2 * (len(bodies) > 2)
    columns = min(6, panels)
    rows = -(-panels // columns)
    picture, axes = plt.subplots(
        rows, columns, figsize=(3 * columns, 3.2 * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[panels:]:
        axis.set_axis_off()
    for axis, record in zip(axes.flat, shown, strict=False):
        _draw(axis, record)
    if len(bodies) > 2:
        seconds = [_timing(record)["build_seconds"] for record in bodies]
        for axis, values, label in (
            (axes.flat[len(shown)], [_numbers(record)["neurons"] for record in bodies], "neurons"),
            (axes.flat[len(shown) + 1], seconds, "seconds to build"),
        ):
            _draw_growth(axis, [_numbers(record)["facets"] for record in bodies], values, label)
    return picture


def _in_order(records: Iterable[RunRecord]) -> list[RunRecord]:
    return sorted(records, key=lambda record: _numbers(record)["facets"])


def _numbers(record: RunRecord) -> dict[str, Any]:
    assert record.metrics is not None
    return record.metrics


def _timing(record: RunRecord) -> dict[str, float]:
    return read_json(record.directory / "timing.json")


def _line(record: RunRecord, source: str, timing: Mapping[str, float]) -> dict[str, Any]:
    numbers, resolutions = _numbers(record), record.spec["resolutions"]
    extracted = ", ".join(
        f"{numbers[f'extracted_components_{r}']} / {numbers[f'extracted_euler_number_{r}']} ({r})"
        for r in resolutions
    )
    return {
        "shape": record.spec["shape"],
        "source": source,
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
        "seconds to build": round(timing["build_seconds"], 2) if timing else None,
        "evaluations a second": int(round(timing["evaluations_per_second"], -3)) if timing else None,
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


def _draw_growth(axis: Axes, faces: Sequence[int], values: Sequence[float], label: str) -> None:
    exponent, factor = np.polyfit(np.log(faces), np.log(values), 1)
    axis.loglog(faces, values, "o", color=RED)
    axis.loglog(faces, np.exp(factor) * np.array(faces, dtype=float) ** exponent, color=BLUE)
    axis.set(title=f"faces to the power {exponent:.2f}", xlabel="faces of the body", ylabel=label)
    axis.set_xticks(faces, [str(count) for count in faces], rotation=45)
    axis.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
