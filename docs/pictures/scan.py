"""Draw a virtual scan and its holes: python docs/pictures/scan.py DATA_ROOT (after nls data fetch bodies)."""

import sys
from pathlib import Path

import numpy as np
import pyvista
from scipy.spatial import cKDTree

from nls.data import load_scans, read_points

HOLE = 0.01  # metres from the nearest measured point

# Title, the box to keep (x, y, z ranges), camera position, focus, up, height of the view: metres.
ALL = (-9, 9, -9, 9, -9, 9)
VIEWS = (
    ("170,000 points", ALL, (-1.5, 1.2, -3.0), (0, 0.93, 0.05), (0, 1, 0), 2.2),
    ("red: holes", ALL, (-1.5, 1.2, -3.0), (0, 0.93, 0.05), (0, 1, 0), 2.2),
    ("a sole", (0, 9, -1, 0.13, -9, 9), (0.19, -2.0, 0.6), (0.19, 0.05, 0.08), (0, 0, 1), 0.42),
    ("an armpit", (0.05, 0.45, 1.1, 1.65, -9, 9), (1.1, 0.2, -2.0), (0.19, 1.36, 0.0), (0, 1, 0), 0.5),
)


def main(root: Path) -> None:
    """Write scan.png beside this file."""
    pair = load_scans(root, "bodies")[1]
    points = read_points(pair.scan)
    body = pyvista.read(pair.registration).subdivide(1, "linear")
    gap = cKDTree(points).query(np.asarray(body.points))[0]
    body["colour"] = np.where((gap > HOLE)[:, None], [214, 60, 50], [205, 205, 200]).astype(np.uint8)

    plotter = pyvista.Plotter(off_screen=True, shape=(1, len(VIEWS)), window_size=(1800, 640), border=False)
    for column, (title, box, position, focus, up, height) in enumerate(VIEWS):
        plotter.subplot(0, column)
        if column == 0:
            plotter.add_mesh(pyvista.PolyData(points), color="#30506e", point_size=1.0)
        else:
            plotter.add_mesh(body.clip_box(box, invert=False), scalars="colour", rgb=True)
        plotter.camera_position = [position, focus, up]
        plotter.enable_parallel_projection()
        plotter.camera.parallel_scale = height / 2
        plotter.add_text(title, font_size=10, color="black")
    plotter.screenshot(str(Path(__file__).with_suffix(".png")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
