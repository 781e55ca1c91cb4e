"""PLY files: vertices in, vertices and faces out."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float, Float64, Int

from nls.engine.files import written_whole
from nls.errors import UserError

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_LONGEST_HEADER = 1 << 16


@dataclass
class _Element:
    name: str
    count: int
    properties: list[tuple[str, str]]  # name and numpy type code
    lists: bool = False


def read_points(path: Path) -> Float64[np.ndarray, "n 3"]:
    """Read the vertices' coordinates of a PLY file: ASCII or binary, whatever else the vertices carry.

    Raises:
        UserError: the file is missing, is not PLY, breaks off, has no vertices, or has coordinates that are not
            finite.
    """
    try:
        with path.open("rb") as file:
            order, elements = _read_header(file, path)
            points = _read_vertices(file, order, elements, path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    bad = int(np.count_nonzero(~np.isfinite(points).all(axis=1)))
    if bad:
        raise UserError(f"{path} has {bad} of {len(points)} vertices that are not finite: remove them first")
    return points


def write_ply(
    path: Path, vertices: Float[np.ndarray, "n 3"], faces: Int[np.ndarray, "f 3"] | None = None
) -> None:
    """Write vertices (single precision) and triangles as binary little-endian PLY; equal input, equal bytes."""
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(vertices)}",
        *(f"property float {axis}" for axis in "xyz"),
    ]
    if faces is not None:
        header += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
    with written_whole(path) as temporary, temporary.open("wb") as file:
        file.write("\n".join([*header, "end_header\n"]).encode("ascii"))
        file.write(np.ascontiguousarray(vertices, dtype="<f4").tobytes())
        if faces is not None:
            rows = np.empty(len(faces), dtype=[("corners", "u1"), ("vertices", "<i4", 3)])
            rows["corners"], rows["vertices"] = 3, faces
            file.write(rows.tobytes())


def _read_header(file: BinaryIO, path: Path) -> tuple[str, list[_Element]]:
    """Return the byte order ("" for ASCII) and the elements; leave the file at the first data byte."""
    if file.readline(16).strip() != b"ply":
        raise UserError(f"{path} is not a PLY file: give a file that starts with the line 'ply'")
    order: str | None = None
    elements: list[_Element] = []
    while file.tell() < _LONGEST_HEADER:
        line = file.readline(_LONGEST_HEADER)
        words = line.decode("latin-1").split()
        match words:
            case ["end_header"]:
                if order is None:
                    raise UserError(f"{path} names no PLY format in its header: export it again")
                return order, elements
            case ["format", name, *_] if name in _ORDERS:
                order = _ORDERS[name]
            case ["element", name, count] if count.isdigit():
                elements.append(_Element(name, int(count), []))
            case ["property", "list", _, _, _] if elements:
                elements[-1].lists = True
            case ["property", kind, name] if elements and kind in _TYPES:
                elements[-1].properties.append((name, _TYPES[kind]))
            case ["comment" | "obj_info", *_]:
                pass
            case _:
                if not line:
                    break
                text = " ".join(words)[:60]
                raise UserError(
                    f"{path} has the PLY header line {text!r}, which cannot be read: export it again"
                )
    raise UserError(f"{path} has a PLY header without end: export or download it again")


def _read_vertices(
    file: BinaryIO, order: str, elements: list[_Element], path: Path
) -> Float64[np.ndarray, "n 3"]:
    names = [element.name for element in elements]
    if "vertex" not in names or elements[names.index("vertex")].count == 0:
        raise UserError(f"{path} has no vertices: give a scan or a mesh with some")
    before, vertex = elements[: names.index("vertex")], elements[names.index("vertex")]
    if vertex.lists or any(element.lists for element in before):
        raise UserError(
            f"{path} has lists before the end of its vertices: export it with plain vertices first"
        )
    fields = [name for name, _ in vertex.properties]
    if not {"x", "y", "z"} <= set(fields) or len(set(fields)) < len(fields):
        raise UserError(f"{path} has vertices without x, y and z, each once: export it again")

    if order:
        for element in before:
            file.seek(_row_type(element, order).itemsize * element.count, os.SEEK_CUR)
        row_type = _row_type(vertex, order)
        _check_count((path.stat().st_size - file.tell()) // row_type.itemsize, vertex.count, path)
        table = np.frombuffer(file.read(row_type.itemsize * vertex.count), dtype=row_type)
        return np.stack([table[axis].astype(np.float64) for axis in "xyz"], axis=1)

    for _ in range(sum(element.count for element in before)):
        file.readline()
    lines = [line for _, line in zip(range(vertex.count), file, strict=False)]
    try:
        numbers = np.array(b" ".join(lines).split(), dtype=np.float64)
    except ValueError as error:
        raise UserError(
            f"{path} has a vertex that is not a row of numbers ({error}): export it again"
        ) from error
    _check_count(len(numbers) // len(fields), vertex.count, path)
    if len(numbers) != len(fields) * vertex.count:
        raise UserError(f"{path} has vertex rows that are not of {len(fields)} numbers: export it again")
    return numbers.reshape(-1, len(fields))[:, [fields.index(axis) for axis in "xyz"]]


def _row_type(element: _Element, order: str) -> np.dtype:
    return np.dtype([(name, order + kind) for name, kind in element.properties])


def _check_count(found: int, announced: int, path: Path) -> None:
    if found < announced:
        raise UserError(
            f"{path} breaks off after {found} of {announced} vertices: export or download it again"
        )
