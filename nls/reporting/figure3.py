"""Figure 3: clouds, reconstructions and the truth side by side; curves as intersections of two sheets."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import trimesh
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec

from nls.errors import UserError
from nls.reporting.render import Image, View, render
from nls.reporting.runs import Evidence, RunRecord, is_of_people, scan_name
from nls.reporting.style import missing_figure
from nls.reporting.view3d import Panel, view_page

# Names of Table 2's methods in the figure's order: the rival, ours.
_METHODS = ("atlasnet-25", "poisson", "levelset")
_TITLES = {"atlasnet-25": "AtlasNet, 25 patches", "poisson": "screened Poisson", "levelset": "ours"}
_SIZE = (420, 620)


def surfaces(evidence: Evidence) -> Figure:
    """Draw the first scan: (a) a batch, (b) AtlasNet and screened Poisson, (c) ours, the truth, and (d) close-ups."""
    found = _first_scan(evidence)
    if not found:
        return missing_figure("no complete run of Table 2")
    shown = [found[name] for name in _METHODS if name in found] or list(found.values())[:1]
    any_run = shown[-1].directory
    points = _points(any_run)
    truth = _mesh(any_run / "truth.ply") if (any_run / "truth.ply").exists() else None
    whole = points if truth is None else np.asarray(truth.vertices)
    view = View.of(whole, size=_SIZE)
    panels = [("input, 10K points", render(view, _SIZE, points=points))]
    panels += [
        (
            _TITLES.get(row.spec["name"], row.spec["name"]),
            render(view, _SIZE, mesh=_mesh(row.directory / "mesh.ply")),
        )
        for row in shown
    ]
    if truth is not None:
        panels.append(("ground truth", render(view, _SIZE, mesh=truth)))
    meshes = [_mesh(row.directory / "mesh.ply") for row in shown] + ([] if truth is None else [truth])
    closeups = [
        [render(close, (_SIZE[0], _SIZE[0]), mesh=mesh) for mesh in meshes]
        for close in ((face_view(whole), hand_view(whole)) if is_of_people(shown[0]) else ())
    ]
    heights = (_SIZE[1] / _SIZE[0], *(1 for _ in closeups))
    figure = plt.figure(figsize=(2.6 * len(panels), 4 + 2.6 * len(closeups)), layout="constrained")
    grid = figure.add_gridspec(len(heights), len(panels), height_ratios=heights)
    for column, (title, image) in enumerate(panels):
        _show(figure, grid[0, column], image, title)
    for row, images in enumerate(closeups):
        for column, image in enumerate(images):
            _show(figure, grid[row + 1, column + 1], image, "")
    return figure


def bodies(evidence: Evidence) -> Figure:
    """Draw (e): our reconstruction of every scan."""
    rows = [run for run in _complete(evidence) if run.spec["name"] == _METHODS[-1]]
    if not rows:
        return missing_figure(f"no complete run of {_METHODS[-1]} in Table 2")
    columns = min(5, len(rows))
    figure, axes = plt.subplots(
        -(-len(rows) // columns),
        columns,
        figsize=(2.6 * columns, 3.8 * -(-len(rows) // columns)),
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, row in zip(axes.flat, rows, strict=False):
        mesh = _mesh(row.directory / "mesh.ply")
        axis.imshow(render(View.of(np.asarray(mesh.vertices), size=_SIZE), _SIZE, mesh=mesh))
        axis.set_title(": ".join(filter(None, (scan_name(row), _distance(row)))), fontsize="small")
    return figure


def curves(evidence: Evidence) -> Figure:
    """Draw (f) and (g): on top the two sheets that meet in the curve, below the samples and the curve."""
    runs = evidence.complete("figure3")
    if not runs:
        return missing_figure("no complete run of Figure 3")
    figure, axes = plt.subplots(
        2, len(runs), figsize=(3.4 * len(runs), 6.8), squeeze=False, layout="constrained"
    )
    for column, directory in enumerate(run.directory for run in runs):
        with np.load(directory / "curve.npz", allow_pickle=False) as file:
            points = file["points"]
            polylines = np.split(file["polylines"], file["ends"][:-1])
        centre = (points.min(axis=0) + points.max(axis=0)) / 2
        reach = 2.6 * float(np.linalg.norm(points - centre, axis=1).max())
        view = View((float(centre[0]), float(centre[1]), float(centre[2])), reach, (0.5, -0.8, 0.7), "z")
        sheets = [_mesh(directory / f"sheet{output}.ply") for output in range(2)]
        images = (
            render(view, (500, 500), curves=polylines, sheets=sheets),
            render(view, (500, 500), curves=polylines, points=points),
        )
        for axis, image in zip(axes[:, column], images, strict=True):
            axis.imshow(image)
            axis.axis("off")
        axes[0, column].set_title(directory.name.replace("_", " "))
    return figure


def view(evidence: Evidence) -> str:
    """Return a page with the input, each method's mesh of the first scan and the truth, in 3D under one camera.

    Raises:
        UserError: there is no complete run of Table 2.
    """
    found = _first_scan(evidence)
    if not found:
        raise UserError(
            f"suite {evidence.suite} has no complete run of Table 2 to show: run snakemake table2"
        )
    names = [*(name for name in _METHODS if name in found), *(name for name in found if name not in _METHODS)]
    shown = [name for name in names if name in _METHODS] or names[:1]
    any_run = found[names[0]]
    points = _points(any_run.directory)
    panels = [Panel("input", f"{len(points):,} points", points)]
    panels += [
        Panel(
            _TITLES.get(name, name),
            _distance(found[name]),
            _mesh(found[name].directory / "mesh.ply"),
            name in shown,
        )
        for name in names
    ]
    if (any_run.directory / "truth.ply").exists():
        panels.append(Panel("ground truth", "", _mesh(any_run.directory / "truth.ply")))
    return view_page(f"{any_run.spec['data']}, scan {scan_name(any_run)}", panels)


def _distance(run: RunRecord) -> str:
    """Tell the Chamfer distance (L2) of a run; nothing if no truth is known. A user's files have their own unit."""
    assert run.metrics is not None
    if "chamfer_l2" not in run.metrics:
        return ""
    unit = "mm" if is_of_people(run) else "×10⁻³"
    return f"Chamfer L2 {1e3 * float(run.metrics['chamfer_l2']):.2f} {unit}"


def face_view(vertices: Float[np.ndarray, "n 3"]) -> View:
    """Return a view of a body's face: what is highest near the middle (y up, facing +z), raised arms left out."""
    height = np.ptp(vertices[:, 1])
    middle = vertices[np.abs(vertices[:, 0] - np.median(vertices[:, 0])) < height / 12]
    head = middle[middle[:, 1] > middle[:, 1].max() - height / 8]
    return _close(head, (0.3, 0.0, 1.0))


def hand_view(vertices: Float[np.ndarray, "n 3"]) -> View:
    """Return a view of a hand: what is farthest to the body's left."""
    tip = vertices[vertices[:, 0].argmax()]
    hand = vertices[np.linalg.norm(vertices - tip, axis=1) < np.ptp(vertices[:, 1]) / 10]
    return _close(hand, (0.6, 0.2, 1.0))


def _close(points: Float[np.ndarray, "n 3"], direction: tuple[float, float, float]) -> View:
    low, high = points.min(axis=0), points.max(axis=0)
    x, y, z = (float(value) for value in (low + high) / 2)
    return View((x, y, z), 1.15 * float((high - low).max()), direction)


def _complete(evidence: Evidence) -> list[RunRecord]:
    """Return the complete runs of Table 2 on this machine by scan, one for each method: that of the least seed."""
    runs = evidence.complete("table2")
    shown: dict[tuple[int, str], RunRecord] = {}
    for run in sorted(runs, key=lambda run: (run.spec["scan"], run.spec["seed"])):
        shown.setdefault((run.spec["scan"], run.spec["name"]), run)
    return list(shown.values())


def _first_scan(evidence: Evidence) -> dict[str, RunRecord]:
    """Return the runs of the first scan that has any, by method."""
    runs = _complete(evidence)
    return {run.spec["name"]: run for run in runs if run.spec["scan"] == runs[0].spec["scan"]}


def _mesh(path: Path) -> trimesh.Trimesh:
    return trimesh.load_mesh(path, process=False)


def _points(directory: Path) -> Float[np.ndarray, "n 3"]:
    with np.load(directory / "scan.npz", allow_pickle=False) as file:
        return np.asarray(file["points"], dtype=np.float64)


def _show(figure: Figure, place: SubplotSpec, image: Image, title: str) -> None:
    axis = figure.add_subplot(place)
    axis.imshow(image)
    axis.set_title(title, fontsize="small")
    axis.axis("off")
