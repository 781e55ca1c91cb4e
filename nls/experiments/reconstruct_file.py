"""``nls reconstruct``, ``nls compare`` and ``nls chamfer``: from files to files and figures."""

import time
from pathlib import Path

from nls.engine.devices import choose_device
from nls.engine.files import require_place
from nls.errors import UserError
from nls.experiments.watching import ANIMATION, WatchedSession
from nls.geometry.clouds import Cloud, read_cloud, read_surface
from nls.geometry.files import WRITTEN_FORMATS, read_mesh, require_writable, write_mesh
from nls.geometry.meshing import largest_piece, topology
from nls.geometry.metrics import chamfer_of_meshes, compare
from nls.reconstruction import reconstruct
from nls.reconstruction.api import Quality
from nls.reconstruction.igr import Igr
from nls.reconstruction.levelset import LevelSet
from nls.reconstruction.methods import method_named
from nls.reconstruction.saved import load_network, save_network
from nls.reporting.render import write_preview


def reconstruct_file(
    scan: Path,
    out: Path,
    method: str = "levelset",
    normals: bool = False,
    quality: Quality = "default",
    steps: int | None = None,
    resolution: int | None = None,
    max_points: int = 100_000,
    trim: float | None = None,
    keep_largest: bool = False,
    preview: Path | None = None,
    save_to: Path | None = None,
    watch: Path | None = None,
    watch_every: int = 100,
    device: str = "auto",
    seed: int = 0,
) -> None:
    """Reconstruct the surface of a file's points, write it in their coordinates, and report.

    Raises:
        UserError: unusable points, an unknown method or format, a place that cannot be written to, no surface.
    """
    method_named(method)  # a misspelt one is told before anything is read
    require_writable(out, WRITTEN_FORMATS, scan)
    if preview is not None:
        require_writable(preview, (".png",))
    if save_to is not None:
        require_writable(save_to, (".safetensors",))
        _with_level_set(method, "--save-network")
    if watch is not None:
        if watch.exists() and not watch.is_dir():
            raise UserError(f"{watch}: name a folder")
        require_place(watch / ANIMATION)
    began = time.monotonic()
    cloud = read_cloud(scan, seed)
    if cloud.note is not None:
        print(f"note: {cloud.note}", flush=True)
    if normals and cloud.normals is None:
        raise UserError(f"{scan} has no normals: leave out --normals, or export it with them")
    session = None if watch is None else _watched(method, cloud, watch, watch_every, device)
    found = reconstruct(
        cloud.points,
        method,
        normals=cloud.normals if normals else None,
        quality=quality,
        steps=steps,
        resolution=resolution,
        max_points=max_points,
        trim=trim,
        keep_largest=keep_largest,
        device=device,
        seed=seed,
        session=session,
    )
    write_mesh(out, found.mesh)
    if session is not None:
        session.end(found.mesh)
    if save_to is not None and found.network is not None:
        save_network(save_to, found.network, found.method, found.frame)
    if preview is not None:
        write_preview(preview, cloud.points, found.mesh)
    trained = f", {found.figures['steps']:.0f} steps" if "steps" in found.figures else ""
    print(
        f"{out}: {found.points} of {len(cloud.points)} points used{trained}, {time.monotonic() - began:.0f} s, "
        f"{len(found.mesh.vertices)} vertices, {found.topology}"
    )


def _watched(method: str, cloud: Cloud, folder: Path, every: int, device: str) -> WatchedSession:
    settings = _with_level_set(method, "--watch")
    return WatchedSession(choose_device(device), folder, every, settings, cloud.points)


def _with_level_set(method: str, option: str) -> LevelSet | Igr:
    settings = method_named(method)
    if not isinstance(settings, LevelSet | Igr):
        raise UserError(f"method {method} has no level set: leave out {option}")
    return settings


def mesh_network_file(network: Path, out: Path, resolution: int, keep_largest: bool, device: str) -> None:
    """Mesh a network of ``nls reconstruct --save-network`` again.

    Raises:
        UserError: the file is no such network, or the mesh cannot be written there.
    """
    require_writable(out)
    mesh = load_network(network).mesh(resolution, choose_device(device))
    told = ""
    if keep_largest:
        mesh, dropped = largest_piece(mesh)
        told = f"; dropped {dropped} pieces" if dropped else ""
    write_mesh(out, mesh)
    print(f"{out}: {len(mesh.vertices)} vertices, {topology(mesh)}{told}")


def compare_files(
    mesh: Path, truth: Path, points: int, f_share: float, seed: int
) -> dict[str, float | int | bool]:
    """Return every measure of a mesh against the truth, lengths in their units.

    ``truth`` is a mesh or a cloud. A measure that is not defined, see :func:`compare`, is left out.

    Raises:
        UserError: a file that cannot be read, or a first one that is no mesh.
    """
    return compare(read_mesh(mesh), read_surface(truth), points, seed, f_share)


def chamfer_files(first: Path, second: Path, points: int, seed: int) -> dict[str, float]:
    """Return the Chamfer distances ``l1`` and ``l2`` of two meshes, in their units.

    Raises:
        UserError: a file that is no mesh.
    """
    distances = chamfer_of_meshes(read_mesh(first), read_mesh(second), points, seed)
    return {"l1": distances.l1, "l2": distances.l2}
