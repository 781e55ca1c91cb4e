"""Pictures of clouds, surfaces and curves, rendered without a display."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import trimesh
from jaxtyping import Float, UInt8

from nls.engine.files import written_whole

Image = UInt8[np.ndarray, "h w 3"]

# Okabe and Ito's palette, distinguishable with colour-vision deficiencies.
SURFACE, INSIDE, POINTS, OTHER = "#9ec9e8", "#d55e00", "#009e73", "#e69f00"
_AXES = {"x": (1, 0, 0), "y": (0, 1, 0), "z": (0, 0, 1)}


@dataclass(frozen=True)
class View:
    """Where the camera stands: it looks along ``-direction`` at ``centre``, and sees ``height`` from top to bottom.

    ``up`` is the axis that points up in the picture.
    """

    centre: tuple[float, float, float]
    height: float
    direction: tuple[float, float, float] = (0.35, 0.15, 1.0)
    up: Literal["x", "y", "z"] = "y"

    @classmethod
    def of(
        cls,
        points: Float[np.ndarray, "n 3"],
        up: Literal["x", "y", "z"] = "y",
        size: tuple[int, int] = (1, 1),
    ) -> "View":
        """Return a view of all points, from ahead and somewhat to the left, for a picture of ``size``."""
        low, high = points.min(axis=0), points.max(axis=0)
        centre = (low + high) / 2
        direction = (0.35, 0.15, 1.0) if up == "y" else (0.35, -1.0, 0.15)
        right = np.cross(_AXES[up], direction)
        over = np.cross(direction, right)
        across, along = (
            np.abs((points - centre) @ axis).max() / np.linalg.norm(axis) for axis in (right, over)
        )
        height = 2.1 * float(max(along, across * size[1] / size[0]))
        return cls((float(centre[0]), float(centre[1]), float(centre[2])), height, direction, up)


def render(
    view: View,
    size: tuple[int, int] = (500, 700),
    *,
    mesh: trimesh.Trimesh | None = None,
    points: Float[np.ndarray, "n 3"] | None = None,
    curves: Sequence[Float[np.ndarray, "n 3"]] = (),
    sheets: Sequence[trimesh.Trimesh] = (),
) -> Image:
    """Return a shaded picture, width × height of ``size``.

    Args:
        view: the camera.
        size: in pixels.
        mesh: a surface; the inside of its faces is shown in another colour.
        points: a cloud.
        curves: polylines, drawn as tubes.
        sheets: translucent surfaces.
    """
    plotter = _plotter(size)
    try:
        if mesh is not None:
            plotter.add_mesh(
                poly(mesh),
                color=SURFACE,
                smooth_shading=True,
                specular=0.2,
                backface_params={"color": INSIDE},
            )
        if points is not None:
            plotter.add_points(
                np.asarray(points, dtype=np.float32),
                color=POINTS,
                point_size=2.0 if len(points) > 1000 else 7.0,
            )
        for sheet, color in zip(sheets, (SURFACE, OTHER), strict=False):
            plotter.add_mesh(poly(sheet), color=color, opacity=0.5, smooth_shading=True)
        for curve in curves:
            plotter.add_mesh(_tube(curve, view.height / 300), color="black")
        _aim(plotter, view)
        return np.asarray(plotter.screenshot(return_img=True))[:, :, :3]
    finally:
        plotter.close()


def write_picture(path: Path, image: Image) -> None:
    """Write a picture whole."""
    from PIL import Image as Pillow

    with written_whole(path) as temporary:
        Pillow.fromarray(image).save(temporary, format="PNG")


def write_preview(path: Path, points: Float[np.ndarray, "n 3"], mesh: trimesh.Trimesh) -> None:
    """Write a picture of a cloud beside its reconstruction; the longest of the axes y and z points up."""
    extent = np.ptp(points, axis=0)
    view = View.of(points, "y" if extent[1] >= extent[2] else "z")
    shown = points[:: max(1, len(points) // 30_000)]
    size = (640, 640)
    images = [render(view, size, points=shown), render(view, size, mesh=mesh)]
    write_picture(path, np.concatenate(images, axis=1))


def write_animation(path: Path, pictures: Sequence[Path]) -> None:
    """Write pictures of one size as an animated WebP of half the size, four a second, the last for two seconds."""
    from PIL import Image as Pillow

    frames = [Pillow.open(picture).reduce(2) for picture in pictures]
    durations = [250] * (len(frames) - 1) + [2000]
    with written_whole(path) as temporary:
        frames[0].save(
            temporary, format="WEBP", save_all=True, append_images=frames[1:], duration=durations, loop=0
        )


def _plotter(size: tuple[int, int]) -> Any:
    import pyvista
    from vtkmodules.vtkCommonCore import vtkLogger

    # Where there is no display VTK warns before it takes the next way to draw; errors are still printed.
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_ERROR)
    plotter: Any = pyvista.Plotter(off_screen=True, window_size=list(size), lighting="light kit")
    plotter.set_background("white")
    plotter.enable_anti_aliasing("ssaa")
    return plotter


def _aim(plotter: Any, view: View) -> None:
    centre, direction = np.array(view.centre), np.array(view.direction)
    place = centre + 3 * view.height * direction / np.linalg.norm(direction)
    plotter.camera_position = [tuple(place), view.centre, _AXES[view.up]]
    plotter.enable_parallel_projection()
    plotter.camera.parallel_scale = view.height / 2
    plotter.renderer.ResetCameraClippingRange()


def poly(mesh: trimesh.Trimesh) -> Any:
    """Return a mesh as VTK has it."""
    import pyvista

    faces = np.hstack([np.full((len(mesh.faces), 1), 3), mesh.faces])
    return pyvista.PolyData(np.asarray(mesh.vertices, dtype=np.float32), faces)


def _tube(curve: Float[np.ndarray, "n 3"], radius: float) -> Any:
    import pyvista

    return pyvista.lines_from_points(np.asarray(curve, dtype=np.float64)).tube(radius=radius)
