"""Results that cannot be written where they are asked for, or that would destroy what they are made from."""

import numpy as np
import pytest
import torch
import trimesh

VERBS = {
    "represent": ["represent", "mesh.ply", "-o"],
    "onnx": ["represent", "mesh.ply", "-o", "n.safetensors", "--onnx"],
    "scan": ["data", "scan", "mesh.ply", "--points", "100", "-o"],
    "reconstruct": ["reconstruct", "mesh.ply", "-o"],
    "attack": [
        "attack",
        "--model",
        "m.py:net",
        "--weights",
        "w.pt",
        "--dataset",
        "d.npz",
        "--eps",
        "0.1",
        "--out",
    ],
}
INPUTS = {"attack": "w.pt"}
MODEL = "from torch import nn\n\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"


@pytest.fixture(autouse=True)
def inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trimesh.creation.box().export("mesh.ply")
    (tmp_path / "m.py").write_text(MODEL)
    torch.save(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).state_dict(), "w.pt")
    images, labels = np.zeros((10, 8, 8), np.uint8), np.arange(10)
    np.savez("d.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)


@pytest.mark.parametrize("verb", VERBS)
def test_a_result_over_its_input_is_refused_and_the_input_stays(verb, refused, tmp_path):
    path = tmp_path / INPUTS.get(verb, "mesh.ply")
    before = path.read_bytes()
    refused([*VERBS[verb], f"../{tmp_path.name}/{path.name}"], "is read from")
    assert path.read_bytes() == before


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("place", ["/proc/result.ply", "folder.ply"])
def test_a_place_where_nothing_can_be_written_is_told_before_the_work(verb, place, refused, tmp_path):
    (tmp_path / "folder.ply").mkdir()
    refused([*VERBS[verb], place], place, "cannot be written")
    assert not (tmp_path / "n.safetensors").exists()


def test_a_file_is_no_folder_to_watch_in(refused):
    refused([*VERBS["reconstruct"], "o.ply", "--watch", "mesh.ply"], "mesh.ply: name a folder")
