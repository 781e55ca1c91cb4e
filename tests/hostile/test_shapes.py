"""Meshes and point clouds that cannot be used: one line that names the file, and nothing written."""

import io
import zipfile

import numpy as np
import pytest
import trimesh

BALL = trimesh.creation.icosphere(2)
POINTS = np.asarray(BALL.vertices)


def ply(vertices, faces, *, end="\n"):
    head = ["ply", "format ascii 1.0", f"element vertex {len(vertices)}", "property double x"]
    head += ["property double y", "property double z", f"element face {len(faces)}"]
    head += ["property list uchar int vertex_indices", "end_header"]
    rows = [" ".join(map(repr, map(float, row))) for row in vertices]
    rows += [" ".join(map(str, [len(face), *face])) for face in faces]
    return "\n".join([*head, *rows]) + end


def binary():
    return BALL.export(file_type="ply")


TEXT = ply(BALL.vertices, BALL.faces.tolist())
LINES = TEXT.splitlines(keepends=True)
TRIANGLE = [[0, 1, 2]]
CORNERS = [[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]
HEAD = TEXT[: TEXT.index("end_header")]


def moved(value, *, unreferenced=False):
    vertices = POINTS.copy()
    if unreferenced:
        vertices = np.concatenate([vertices, [[value] * 3]])
    else:
        vertices[7, 1] = value
    return ply(vertices, BALL.faces.tolist())


# Files of meshes, and what is told of each beside its name.
MESHES = {
    "empty": ("m.ply", "", ["empty"]),
    "a word": ("m.ply", "ply", []),
    "zeros": ("m.ply", bytes(500), []),
    "text": ("m.ply", "no mesh\n" * 50, []),
    "a picture": ("m.ply", b"\x89PNG\r\n\x1a\n" + bytes(100), []),
    "no end of the header": ("m.ply", HEAD, []),
    "only a header": ("m.ply", HEAD + "end_header\n", []),
    "cut at the end of a line": ("m.ply", "".join(LINES[:-9]), []),
    "cut in its vertices": ("m.ply", "".join(LINES[:60]), []),
    "cut inside a number": ("m.ply", TEXT[: len(TEXT) // 3], []),
    "binary, cut": ("m.ply", binary()[:-7], []),
    "binary, cut in half": ("m.ply", binary()[: len(binary()) // 2], []),
    "no faces": ("m.ply", ply(POINTS, []), ["no faces"]),
    "an index too large": ("m.ply", ply(CORNERS, [[0, 1, 3]]), ["vertex 3", "3 vertices"]),
    "an index far too large": ("m.ply", ply(POINTS, [*BALL.faces.tolist(), [0, 1, 2**31 - 1]]), []),
    "a negative index": ("m.ply", ply(CORNERS, [[0, 1, -1]]), ["vertex -1"]),
    "faces of two corners": ("m.ply", ply(CORNERS, [[0, 1]]), []),
    "words for numbers": ("m.ply", TEXT.replace("0.0 ", "zero "), []),
    "NaN": ("m.ply", moved(np.nan), ["not finite"]),
    "NaN that no face uses": ("m.ply", moved(np.nan, unreferenced=True), ["not finite"]),
    "infinite": ("m.ply", moved(np.inf), ["not finite"]),
    "1e300": ("m.ply", moved(1e300), ["1e+300"]),
    "minus 1e300": ("m.ply", moved(-1e300), ["1e+300"]),
    "too small": ("m.ply", ply(POINTS * 1e-200, BALL.faces.tolist()), ["e-200"]),
    "all in one place": ("m.ply", ply(POINTS * 0, BALL.faces.tolist()), ["no face with an area"]),
    "all on a line": ("m.ply", ply(POINTS * [1, 0, 0], BALL.faces.tolist()), ["no face with an area"]),
    "a count of words": ("m.ply", TEXT.replace(f"vertex {len(POINTS)}", "vertex many"), []),
    "a negative count": ("m.ply", TEXT.replace(f"vertex {len(POINTS)}", "vertex -5"), []),
    "a count of billions": ("m.ply", TEXT.replace(f"vertex {len(POINTS)}", "vertex 99999999999"), []),
    "a type that there is not": ("m.ply", TEXT.replace("double x", "decimal x"), []),
    "no y": ("m.ply", TEXT.replace("property double y\n", ""), []),
    "another format": ("m.ply", TEXT.replace("ascii", "morse"), []),
    "no ending": ("mesh", TEXT, ["unknown format"]),
    "an unknown ending": ("m.doc", TEXT, ["unknown format '.doc'"]),
    "OBJ: empty": ("m.obj", "", ["empty"]),
    "OBJ: points": ("m.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\n", []),
    "OBJ: an index too large": ("m.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", []),
    "OBJ: words": ("m.obj", "v a b c\nf 1 2 3\n", []),
    "OFF: cut": ("m.off", "OFF\n4 4 0\n0 0 0\n1 0 0\n", []),
    "OFF: an index too large": ("m.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n", []),
    "STL: text": ("m.stl", "solid nothing\nendsolid\n", []),
    "STL: binary, cut": ("m.stl", BALL.export(file_type="stl")[:-60], []),
    "STL: a wrong count": ("m.stl", bytes(80) + (10**9).to_bytes(4, "little") + bytes(200), []),
    "GLB: cut": ("m.glb", BALL.export(file_type="glb")[:200], []),
    "GLB: text": ("m.glb", "glTF and so on", []),
}


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def zipped(name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, content)
    return buffer.getvalue()


def rows(array):
    return "\n".join(" ".join(map(str, row)) for row in array)


CLOUDS = {
    "XYZ: empty": ("c.xyz", "", ["empty"]),
    "XYZ: words": ("c.xyz", "x y z\n" * 200, []),
    "XYZ: two columns": ("c.xyz", rows(POINTS[:, :2]), ["2 columns"]),
    "XYZ: ragged": ("c.xyz", rows(POINTS) + "\n1 2\n", []),
    "XYZ: NaN": ("c.xyz", rows(POINTS) + "\nnan 1 2\n", ["not finite"]),
    "XYZ: few": ("c.xyz", rows(POINTS[:9]), ["9 points"]),
    "XYZ: one place": ("c.xyz", "1 2 3\n" * 200, ["all points are equal"]),
    "XYZ: a line": ("c.xyz", rows([[k, 2 * k, 3 * k] for k in range(200)]), ["on one line"]),
    "XYZ: 1e300": ("c.xyz", rows(POINTS * 1e300), ["e+300"]),
    "XYZ: binary": ("c.xyz", bytes(range(256)), []),
    "NPY: cut": ("c.npy", npy(POINTS)[:-9], []),
    "NPY: an array in the plane": ("c.npy", npy(POINTS[:, :2]), ["(162, 2)"]),
    "NPY: a number": ("c.npy", npy(3.0), []),
    "NPY: structured": ("c.npy", npy(np.zeros(200, [("x", "f4"), ("y", "f4"), ("z", "f4")])), ["real numbers"]),
    "NPY: complex": ("c.npy", npy(POINTS * 1j), ["complex128"]),
    "NPY: objects": ("c.npy", npy(np.array([{}] * 200)), []),
    "NPY: text": ("c.npy", npy(POINTS.astype(str)), []),
    "NPY: booleans": ("c.npy", npy(POINTS > 0), []),
    "NPY: infinite": ("c.npy", npy(np.where(POINTS > 0.9, np.inf, POINTS)), ["not finite"]),
    "NPZ: nothing": ("c.npz", zipped("a.txt", ""), []),
    "NPZ: two arrays": ("c.npz", npz(a=POINTS, b=POINTS), ["call the array of points 'points'"]),
    "NPZ: fewer normals": ("c.npz", npz(points=POINTS, normals=POINTS[:5]), ["normals"]),
    "NPZ: text": ("c.npz", "no zip", []),
    "PCD: text": ("c.pcd", "no cloud", []),
    "PCD: no fields": ("c.pcd", "VERSION .7\nFIELDS\nPOINTS 3\nDATA ascii\n", []),
    "LAS: text": ("c.las", "no cloud", []),
    "LAZ: zeros": ("c.laz", bytes(400), []),
}  # fmt: skip


def put(folder, name, content):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    BALL.export(folder / "good.ply")
    return name


@pytest.mark.parametrize("case", MESHES)
def test_a_mesh_that_cannot_be_measured(refused, tmp_path, case):
    name, content, told = MESHES[case]
    refused(["chamfer", "good.ply", put(tmp_path, name, content), "--points", "100"], name, *told)


# What reads meshes in another way than `nls chamfer`.
@pytest.mark.parametrize("verb", ["represent", "scan", "compare"])
@pytest.mark.parametrize(
    "case",
    [
        "empty", "zeros", "cut at the end of a line", "no faces", "an index too large", "a negative index", "NaN",
        "1e300", "too small", "all in one place", "OBJ: an index too large", "STL: text",
    ],
)  # fmt: skip
def test_a_mesh_that_cannot_be_used(refused, tmp_path, verb, case):
    name, content, _ = MESHES[case]
    put(tmp_path, name, content)
    words = {
        "represent": ["represent", name, "-o", "out.safetensors"],
        "scan": ["data", "scan", name, "-o", "out.ply", "--points", "100"],
        "compare": ["compare", name, "good.ply", "--points", "100"],
    }
    refused(words[verb], name)


@pytest.mark.parametrize("case", CLOUDS)
def test_a_cloud_that_cannot_be_reconstructed(refused, tmp_path, case):
    name, content, told = CLOUDS[case]
    words = ["reconstruct", put(tmp_path, name, content), "-o", "out.ply", "--method", "poisson"]
    refused([*words, "--normals"] if "normals" in case else words, name, *told)


@pytest.mark.parametrize("words", [["good.ply", "none.ply"], ["none.ply", "good.ply"], [".", "good.ply"]])
def test_a_mesh_that_is_not_there(refused, tmp_path, words):
    put(tmp_path, "other", "")
    refused(["chamfer", *words], next(word for word in words if word != "good.ply"))
