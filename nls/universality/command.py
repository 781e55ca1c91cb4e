"""``nls represent``: a mesh file in, a network file out."""

import time
from collections.abc import Iterator
from pathlib import Path

import torch

from nls.engine.files import require_distinct
from nls.geometry.files import require_writable
from nls.universality.files import export_onnx, save_network
from nls.universality.layers import represent
from nls.universality.meshes import load_solid


def represent_file(
    mesh: Path, out: Path, dtype: str = "float64", *, repair: bool = False, onnx: Path | None = None
) -> Iterator[str]:
    """Build the network of a mesh and write it; yield what a person wants to read, a line at a time.

    Args:
        mesh: a file with a watertight triangle mesh.
        out: the file to write, ``.safetensors``.
        dtype: ``float32`` or ``float64``.
        repair: try to mend a mesh with a defect.
        onnx: a file to write as ONNX too, ``.onnx``.

    Raises:
        UserError: if the mesh cannot be read, bounds no solid, or what is made of it cannot be written.
    """
    require_writable(out, (".safetensors",), mesh)
    if onnx is not None:
        require_writable(onnx, (".onnx",), mesh)
    require_distinct(out, onnx)
    loaded = load_solid(mesh, repair)
    for change in loaded.changes:
        yield f"repaired: {change}"
    start = time.perf_counter()
    network = represent(loaded.surface, getattr(torch, dtype))
    seconds = time.perf_counter() - start
    notes = {"mesh": mesh.name, "faces": str(len(loaded.surface.facets))}
    save_network(network, out, notes)
    yield (
        f"{out}: {len(loaded.surface.facets)} faces, {network.neurons} neurons in {network.depth} hidden layers, "
        f"{network.nonzeros} weights, {dtype}, built in {seconds:.1f} s"
    )
    if onnx is not None:
        export_onnx(network, onnx)
        yield f"{onnx}: the same network as ONNX"
