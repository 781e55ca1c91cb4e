"""PLY files of every kind, good and bad."""

import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nls.data import read_points, write_ply
from nls.errors import UserError

POINTS = np.array([[0.0, 1.5, -2.25], [1e-3, 4.0, 8.0], [-1.0, 0.5, 1e6]])
FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
COLUMNS = {
    "plain": [("x", "float"), ("y", "float"), ("z", "float")],
    "doubles": [("x", "double"), ("y", "float64"), ("z", "double")],
    "normals and colours": [
        *((axis, "float") for axis in ("x", "y", "z", "nx", "ny", "nz")),
        *((colour, "uchar") for colour in ("red", "green", "blue", "alpha")),
    ],
    "another order": [
        ("quality", "int16"),
        ("z", "double"),
        ("red", "uint8"),
        ("x", "float32"),
        ("y", "float"),
    ],
}
CODES = {
    "float": "f",
    "float32": "f",
    "double": "d",
    "float64": "d",
    "uchar": "B",
    "uint8": "B",
    "int16": "h",
}


def ply(
    form: str,
    columns: list[tuple[str, str]],
    points: np.ndarray = POINTS,
    count: int | None = None,
    end: str = "\n",
    before: bool = False,
) -> bytes:
    header = ["ply", f"format {form} 1.0", "comment made by hand"]
    body = b""
    order = FORMATS[form]
    if before:
        header += ["element camera 2", "property float view", "property uchar id"]
        for k in range(2):
            body += struct.pack(f"{order}fB", 0.5, k) if order else f"0.5 {k}\n".encode()
    header += [f"element vertex {len(points) if count is None else count}"]
    header += [f"property {kind} {name}" for name, kind in columns]
    header += ["element face 1", "property list uchar int vertex_indices", "end_header"]
    for row in points:
        values = [row["xyz".index(name)] if name in ("x", "y", "z") else 9 for name, _ in columns]
        if order:
            body += struct.pack(order + "".join(CODES[kind] for _, kind in columns), *values)
        else:
            body += (" ".join(f"{value:.9g}" for value in values) + "\n").encode()
    body += struct.pack(f"{order}B3i", 3, 0, 1, 2) if order else b"3 0 1 2\n"
    return end.join([*header, ""]).encode() + body


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("form", FORMATS)
def test_every_encoding_gives_the_same_points(tmp_path, form, columns, before):
    path = tmp_path / "scan.ply"
    path.write_bytes(ply(form, COLUMNS[columns], before=before))
    np.testing.assert_allclose(read_points(path), POINTS, rtol=1e-7)
    assert read_points(path).dtype == np.float64


def test_windows_line_ends(tmp_path):
    path = tmp_path / "scan.ply"
    path.write_bytes(ply("binary_little_endian", COLUMNS["plain"], end="\r\n"))
    np.testing.assert_allclose(read_points(path), POINTS, rtol=1e-7)


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_what_others_write(tmp_path, encoding):
    mesh = trimesh.creation.icosphere(subdivisions=1)
    mesh.export(tmp_path / "mesh.ply", encoding=encoding, vertex_normal=True)
    np.testing.assert_allclose(read_points(tmp_path / "mesh.ply"), mesh.vertices, atol=1e-6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    points=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 20), st.just(3)), elements=st.floats(-1e6, 1e6, width=32)
    )
)
def test_what_is_written_reads_back(tmp_path, points):
    write_ply(tmp_path / "scan.ply", points)
    np.testing.assert_array_equal(read_points(tmp_path / "scan.ply"), points)


def test_others_read_what_is_written(tmp_path):
    mesh = trimesh.creation.box()
    write_ply(tmp_path / "mesh.ply", mesh.vertices, mesh.faces)
    again = trimesh.load_mesh(tmp_path / "mesh.ply", process=False)
    np.testing.assert_array_equal(again.vertices, mesh.vertices)
    np.testing.assert_array_equal(again.faces, mesh.faces)


def bad(points: np.ndarray, value: float) -> np.ndarray:
    points = points.copy()
    points[1, 2] = value
    return points


PLAIN = COLUMNS["plain"]
LITTLE = "binary_little_endian"
BAD = {
    "NaN, ascii": (ply("ascii", PLAIN, bad(POINTS, np.nan)), "1 of 3 vertices that are not finite"),
    "NaN, binary": (ply(LITTLE, PLAIN, bad(POINTS, np.nan)), "1 of 3 vertices that are not finite"),
    "infinity": (ply("binary_big_endian", PLAIN, bad(POINTS, np.inf)), "not finite"),
    "no vertices": (ply(LITTLE, PLAIN, POINTS[:0]), "no vertices"),
    "no vertices, ascii": (ply("ascii", PLAIN, POINTS[:0]), "no vertices"),
    "no vertex element": (b"ply\nformat ascii 1.0\nelement face 0\nend_header\n", "no vertices"),
    "too few, binary": (ply(LITTLE, PLAIN, count=900), "breaks off after 4 of 900"),
    "a count beyond memory": (ply(LITTLE, PLAIN, count=10**15), "breaks off"),
    "too few, ascii": (ply("ascii", PLAIN, count=900), "breaks off after 4 of 900"),
    "no z": (ply(LITTLE, PLAIN[:2]), "without x, y and z"),
    "words": (ply("ascii", PLAIN).replace(b"1.5", b"one"), "not a row of numbers"),
    "long rows": (ply("ascii", PLAIN).replace(b"1.5", b"1.5 2"), "rows that are not of 3 numbers"),
    "no PLY": (b"solid cube\n", "not a PLY file"),
    "empty": (b"", "not a PLY file"),
    "no end": (ply(LITTLE, PLAIN).split(b"end_header")[0], "without end"),
    "no format": (ply(LITTLE, PLAIN).replace(b"format", b"comment"), "names no PLY format"),
    "a format nobody knows": (ply(LITTLE, PLAIN).replace(b"little", b"middle"), "binary_middle_endian"),
    "a type nobody knows": (ply(LITTLE, PLAIN).replace(b"property float x", b"property half x"), "half x"),
    "lists in vertices": (
        ply(LITTLE, PLAIN).replace(b"property float z\n", b"property float z\nproperty list uchar int of\n"),
        "lists",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_named_in_one_line(tmp_path, case):
    content, words = BAD[case]
    path = tmp_path / "scan.ply"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        read_points(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"no\.ply: No such file"):
        read_points(tmp_path / "no.ply")
    with pytest.raises(UserError, match="directory"):
        read_points(Path(tmp_path))
