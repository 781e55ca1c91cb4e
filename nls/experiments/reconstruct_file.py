"""``nls reconstruct``, ``nls compare`` and ``nls chamfer``: from files to files and figures."""

import json
import time
from pathlib import Path

from nls.geometry.clouds import read_cloud, read_surface
from nls.geometry.files import read_mesh, require_writable, write_mesh
from nls.geometry.metrics import chamfer_of_meshes, compare
from nls.reconstruction import reconstruct
from nls.reporting.render import write_preview


def reconstruct_file(
    scan: Path,
    out: Path,
    method: str = "levelset",
    steps: int | None = None,
    resolution: int = 256,
    keep_largest: bool = False,
    preview: Path | None = None,
    device: str = "auto",
    seed: int = 0,
) -> None:
    """Reconstruct the surface of a file's points, write it in their coordinates, and report.

    Raises:
        UserError: unusable points, an unknown method or format, a folder that does not exist, no surface.
    """
    require_writable(out)
    if preview is not None:
        require_writable(preview, (".png",))
    began = time.monotonic()
    cloud = read_cloud(scan, seed)
    if cloud.note is not None:
        print(f"note: {cloud.note}", flush=True)
    found = reconstruct(
        cloud.points,
        method,
        steps=steps,
        resolution=resolution,
        keep_largest=keep_largest,
        device=device,
        seed=seed,
    )
    write_mesh(out, found.mesh)
    if preview is not None:
        write_preview(preview, cloud.points, found.mesh)
    trained = f", {found.figures['steps']:.0f} steps" if "steps" in found.figures else ""
    print(
        f"{out}: {found.points} of {len(cloud.points)} points used{trained}, {time.monotonic() - began:.0f} s, "
        f"{len(found.mesh.vertices)} vertices, {found.topology}"
    )


def compare_files(mesh: Path, truth: Path, points: int, f_share: float, seed: int) -> None:
    """Print every measure of a mesh against the truth as JSON, lengths in their units.

    ``truth`` is a mesh or a cloud. A measure that is not defined, see :func:`compare`, is left out.

    Raises:
        UserError: a file that cannot be read, or a first one that is no mesh.
    """
    figures = compare(read_mesh(mesh), read_surface(truth), points, seed, f_share)
    print(json.dumps(figures, indent=2))


def chamfer_files(first: Path, second: Path, points: int, seed: int) -> None:
    """Print the Chamfer distances of two meshes as JSON, in their units.

    Raises:
        UserError: a file that is no mesh.
    """
    distances = chamfer_of_meshes(read_mesh(first), read_mesh(second), points, seed)
    print(json.dumps({"l1": distances.l1, "l2": distances.l2}))
