"""A user's own file is carried out as it stands, and nothing is left beside it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nls.engine.user_code import load_user_code, user_files

LOSS = """
import queue

import torch
from layers import WEIGHT


class Squared:
    def __call__(self, network, points, labels):
        from late import labels_of

        assert queue.Queue
        return WEIGHT * (network(points).flatten() - labels_of(labels)).square().mean()
"""
BESIDE = {
    "layers/__init__.py": "from layers.weights import WEIGHT\n",
    "layers/weights.py": "WEIGHT = 0.5\n",
    "late.py": "import other\n\n\ndef labels_of(labels):\n    return labels\n",
    "other.py": "",
    "queue.py": "raise RuntimeError('this is not the one that is meant')\n",
    "nobody.py": "import late\n",
}


def test_a_change_of_the_same_size_in_the_same_second_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "own.py"
    for value in (1, 2):
        file.write_text(f"VALUE = {value}\n")
        os.utime(file, (1e9, 1e9))
        assert load_user_code(f"{file}:VALUE") == value
    assert os.listdir(tmp_path) == ["own.py"]


def test_its_classes_know_their_file(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("class Own:\n    pass\n")
    own = load_user_code(f"{file}:Own")
    assert sys.modules[own.__module__].__file__ == str(file)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A loss with files beside it, in a folder of its own below the one to work in."""
    monkeypatch.chdir(tmp_path)
    for name, text in {"own/loss.py": LOSS, **{f"own/{name}": text for name, text in BESIDE.items()}}.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    return "own/loss.py:Squared"


def test_files_beside_it_that_it_imports_are_known(own):
    expected = ["late.py", "layers/__init__.py", "layers/weights.py", "other.py"]
    assert user_files(own) == ["own/loss.py", *(f"own/{name}" for name in expected)]


@pytest.mark.parametrize("content", [b"import (", b"\0", b"\xff\xfe", None])
def test_a_file_that_is_no_python_imports_nothing(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("bad.py").write_bytes(content)
    assert user_files("./bad.py:Name") == ["./bad.py"]


def test_a_run_imports_files_beside_it_and_is_run_again_when_one_changes(own):
    """By the program, for which the folder to work in is no place to import from."""
    spec = {
        "suite": "s",
        "experiment": "figure2",
        "run": "one",
        "dataset": "digits",
        "fraction": 0.1,
        "name": "squared",
        "loss": own,
        "loss_settings": {},
        "evaluate_on": "test",
        "seeds": [0],
        "training": {"steps": 2, "batch_size": 8},
    }
    Path("spec.yaml").write_text(yaml.safe_dump(spec))
    program = Path(sys.executable).with_name("nls")

    def run():
        done = subprocess.run([program, "run", "spec.yaml", "--out", "out"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run()
    assert "complete already" in run()
    Path("own/layers/weights.py").write_text("WEIGHT = 1.5\n")
    assert "was made from another own/layers/weights.py" in run()
