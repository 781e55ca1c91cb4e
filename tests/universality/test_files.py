"""Networks survive files: safetensors stay sparse, ONNX runs elsewhere."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from nls.cli import main
from nls.errors import UserError
from nls.universality import evaluate, export_onnx, load_network, load_solid, represent, save_network, shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_safetensors_round_trip(dtype, tmp_path):
    network, path = represent(shape("body_with_cavity"), dtype), tmp_path / "net.safetensors"
    save_network(network, path)
    loaded = load_network(path)
    points = torch.randn(300, 3, dtype=dtype)
    assert loaded.dtype == dtype
    assert torch.equal(evaluate(loaded, points), evaluate(network, points))
    entry = 4 + network.layers[0].values.element_size()
    assert path.stat().st_size < 1.5 * entry * network.nonzeros + 20_000, "no dense weights in the file"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["star", "l_block"])
def test_onnx_round_trip(name, dtype, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    network, path = represent(shape(name), dtype), tmp_path / "net.onnx"
    export_onnx(network, path)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    points = torch.randn(500, network.dimension, dtype=dtype)
    (values,) = session.run(None, {"points": points.numpy()})
    tolerance = 64 * torch.finfo(dtype).eps
    np.testing.assert_allclose(values, network(points).detach().numpy(), atol=tolerance)


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    with pytest.raises(UserError, match="cannot read"):
        load_network(path)
    save_network(represent(shape("cube")), path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cannot read"):
        load_network(path)
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(UserError, match="not a network"):
        load_network(path)


def test_the_command_writes_both_files(tmp_path, capsys):
    surface = shape("cube")
    mesh = tmp_path / "cube.ply"
    trimesh.Trimesh(surface.vertices, np.array(surface.facets), process=False).export(mesh)
    out, onnx = tmp_path / "net.safetensors", tmp_path / "net.onnx"
    arguments = ["represent", str(mesh), "-o", str(out), "--dtype", "float32", "--onnx", str(onnx)]
    assert main(arguments) == 0
    assert "12 faces" in capsys.readouterr().out
    assert onnx.stat().st_size > 0
    network = load_network(out)
    assert network.dtype == torch.float32
    assert evaluate(network, torch.zeros(1, 3)).item() == 0.5


@pytest.mark.parametrize("option", ["--out", "--onnx"])
def test_the_command_writes_no_format_under_the_name_of_another(option, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trimesh.creation.box().export("cube.ply")
    arguments = {"--out": "net.safetensors", option: "net.pt"}
    assert main(["represent", "cube.ply", *chain(*arguments.items())]) == 2
    assert "net.pt: unknown format '.pt'" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["cube.ply"]


def test_paths_may_be_strings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trimesh.creation.box().export("cube.ply")
    network = represent(load_solid("cube.ply").surface)
    save_network(network, "net.safetensors")
    assert load_network("net.safetensors").neurons == network.neurons
    pytest.importorskip("onnx")
    export_onnx(network, "net.onnx")
    assert Path("net.onnx").stat().st_size > 0
