"""Specs that cannot be meant, and a user's code that fails within a run."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import trimesh

from nls.cli import main
from nls.data.scans import registration_path, scan_path
from nls.data.store import build
from nls.engine.yaml_files import yaml_text

FIGURE2 = {
    "suite": "hostile",
    "experiment": "figure2",
    "run": "one",
    "dataset": "digits",
    "fraction": 0.05,
    "name": "hinge",
    "loss": "hinge",
    "loss_settings": {},
    "seeds": [0],
    "evaluate_on": "test",
    "training": {"steps": 2},
}
TABLE1 = {
    "suite": "hostile",
    "experiment": "table1",
    "run": "one",
    "seed": 0,
    "row": {
        "dataset": "digits",
        "network": "convnet-small",
        "method": "standard",
        "training": {"epochs": 1, "batch_size": 32, "learning_rate": 0.001, "train_images": 64},
    },
    "attacks": {"eps": 0.1, "attacks": ["pgd-xent"], "steps": 1, "step_size": 0.1, "starts": 1, "test_images": 4,
                "curve_steps": 1, "curve_images": 4},
}  # fmt: skip
TABLE2 = {
    "suite": "hostile",
    "experiment": "table2",
    "run": "one",
    "data": "bodies",
    "scan": 0,
    "scan_name": "000",
    "scan_file": None,
    "truth_file": None,
    "name": "mine",
    "method": {"method": "mine.py:Mine"},
    "resolution": 32,
    "max_points": 1000,
    "seed": 0,
    "looks": [],
}
RUN = ["run", "spec.yaml", "--out", "results/out"]


def ball(folder, scratch):
    for path in (scan_path(folder, 0), registration_path(folder, 0)):
        path.parent.mkdir(parents=True)
        trimesh.creation.icosphere(3, radius=0.5).export(path)
    return {}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    assert main(["data", "fetch", "digits", "--root", str(folder)]) == 0
    build(folder, "bodies", {}, ball)
    return folder


@pytest.fixture
def here(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(data, "data")
    return tmp_path


def put(spec, **changes):
    Path("spec.yaml").write_text(yaml_text(spec | changes))


def test_the_specs_that_the_cases_change_are_good(here):
    Path("mine.py").write_text("import trimesh\n\n\nclass Mine:\n    def __call__(self, points, seed, device):\n"
                               "        return trimesh.creation.box()\n")  # fmt: skip
    for spec in (FIGURE2, TABLE1, TABLE2):
        put(spec)
        assert main([*RUN[:-1], "results/" + spec["experiment"]]) == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"experiment": ["figure2"]}, ["experiment: ['figure2']", "table1"]),
        ({"experiment": {"a": 1}}, ["experiment: {'a': 1}"]),
        ({"experiment": None}, ["experiment: None"]),
        ({"experiment": "figure2.py"}, ["experiment: 'figure2.py'"]),
        ({"experiment": "../figure2"}, ["experiment: '../figure2'"]),
        ({"run": ""}, ["run: ''"]),
        ({"run": "../../up"}, ["run: '../../up'"]),
        ({"run": "a b"}, ["run: 'a b'"]),
        ({"threads": 0}, ["threads: 0"]),
        ({"threads": 10**6}, ["threads: 1000000"]),
        ({"seeds": "0"}, ["seeds: '0'"]),
        ({"seeds": [2**32]}, ["seeds.0: 4294967296", "4294967295"]),
        ({"fraction": 0.0}, ["fraction: 0.0"]),
        ({"fraction": float("nan")}, ["nan is no finite number"]),
        ({"checkpoint_minutes": 0}, ["checkpoint_minutes: 0"]),
        ({"checkpoint_minutes": float("inf")}, ["inf is no finite number"]),
        ({"dataset": "minst"}, ["unknown dataset 'minst'"]),
        ({"dataset": "none.npz"}, ["none.npz", "No such file"]),
        ({"dataset": "mnist"}, ["nls data fetch mnist --root data"]),
        ({"loss": "hige"}, ["hige", "hinge"]),
        ({"loss_settings": {"weight": 1}}, ["hinge", "'weight'"]),
        ({"loss": "none.py:Loss"}, ["none.py"]),
        ({"loss": "spec.yaml:Loss"}, ["spec.yaml:Loss"]),
        ({"data_root": "nowhere"}, ["nls data fetch digits --root nowhere"], ),
        ({"device": "tpu"}, ["device: 'tpu'"]),
        ({"extra": 1}, ["unknown key 'extra'"]),
    ],
)  # fmt: skip
def test_a_spec_that_cannot_be_meant(refused, here, changes, told):
    put(FIGURE2 | {"dataset": "mnist" if "data_root" in changes else "digits"}, **changes)
    refused(RUN, *[word.replace("digits", "mnist") for word in told])
    assert not Path("results/out/metrics.json").exists()


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("spec.yaml", ["spec.yaml"]),
        ("spec.yaml/out", ["spec.yaml/out"]),
        ("/proc/out", ["/proc/out"]),
        ("/dev/null", ["/dev/null"]),
        ("x" * 300, ["too long"]),
        (".", ["holds data, and no run"]),
        ("data", ["holds bodies, and no run"]),
    ],
)
def test_a_place_where_no_run_can_be(refused, here, out, told):
    put(FIGURE2)
    refused(["run", "spec.yaml", "--out", out], "nls: ", *told)


@pytest.mark.parametrize("spec", [".", "none.yaml", "/dev/null", "data/digits/train_images.npy", "x" * 300])
def test_a_spec_that_is_no_file(refused, here, spec):
    refused(["run", spec, "--out", "out"], spec[:100])


# What a loss of the user's does, and what is told of it; 2 for the wrong shape of a class, 1 in the middle of a run.
LOSSES = {
    "returns nothing": ("return None", 2, ["mine.py:Mine", "a NoneType"]),
    "returns a number": ("return 3.0", 2, ["mine.py:Mine", "a float"]),
    "returns a tuple": ("return loss, 1", 2, ["mine.py:Mine", "a tuple"]),
    "returns a vector": ("return loss * torch.ones(3)", 2, ["mine.py:Mine", "shape (3,)"]),
    "returns an integer": ("return loss.long()", 2, ["mine.py:Mine", "torch.int64"]),
    "cuts the gradient": ("return loss.detach()", 2, ["mine.py:Mine", "no gradient"]),
    "raises": ("raise ValueError('odd')", 1, ["ValueError: odd", "your own code"]),
    "raises in a package": ("return torch.zeros(2) @ torch.zeros(3)", 1, ["RuntimeError", "your own code"]),
    "exits": ("sys.exit(0)", 1, ["SystemExit", "your own code"]),
    "returns NaN": ("return loss * float('nan')", 1, ["the loss is nan at step 0", "look at the loss"]),
    "returns infinity": ("return loss * float('inf')", 1, ["the loss is", "look at the loss"]),
    "has no gradient": (
        "e = loss.exp()\n        loss = e.log()\n        e.add_(1)\n        return loss",
        2,
        ["mine.py:Mine", "the gradient of the loss failed", "inplace operation"],
    ),
    "keeps what cannot be saved": (
        "return loss\n\n    def state_dict(self):\n        return {'draw': lambda: 1}\n\n"
        "    def load_state_dict(self, state):\n        pass",
        2,
        ["mine.py:Mine", "state_dict holds more than tensors"],
    ),
    "keeps what cannot be read again": (
        "return loss\n\n    def state_dict(self):\n        return {'at': Mine()}\n\n"
        "    def load_state_dict(self, state):\n        pass",
        2,
        ["mine.py:Mine", "state_dict holds more than tensors"],
    ),
}
HEAD = "import sys\nimport torch\n\n\n"
CALLS = {
    "figure2": "class Mine:\n    def __call__(self, network, x, y):\n        loss = network(x).square().mean()\n",
    "table1": "class Mine:\n    def __call__(self, model, x, y, moment):\n        loss = model(x).square().mean()\n",
}


@pytest.mark.parametrize("experiment", CALLS)
@pytest.mark.parametrize("case", LOSSES)
def test_a_loss_of_ones_own_that_fails(here, capfd, experiment, case):
    body, code, told = LOSSES[case]
    Path("mine.py").write_text(f"{HEAD}{CALLS[experiment]}        {body}\n")
    if experiment == "figure2":
        put(FIGURE2, loss="mine.py:Mine")
    else:
        put(TABLE1, row=TABLE1["row"] | {"method": "mine.py:Mine"})
    assert main(RUN) == code
    error = capfd.readouterr().err
    lines = [line for line in error.splitlines() if not line.startswith("  ")]
    assert len(lines) == 1, error
    for word in told:
        assert word in lines[0]
    # Where in the user's file it arose stands below the line, and nothing of nls.
    assert ('mine.py", line 8' in error) == ("your own code" in error)
    assert "nls/" not in error
    assert not Path("results/out/metrics.json").exists()
    assert "reason" in json.loads(Path("results/out/failure.json").read_text())


CLASSES = {
    "needs a setting": (
        "class Mine:\n    def __init__(self, weight):\n        pass",
        ["mine.py:Mine", "weight"],
    ),
    "raises": (
        "class Mine:\n    def __init__(self):\n        raise KeyError('a')",
        ["mine.py:Mine", "KeyError"],
    ),
    "exits": ("class Mine:\n    def __init__(self):\n        sys.exit(0)", ["mine.py:Mine", "SystemExit"]),
    "has no call": ("class Mine:\n    pass", ["mine.py:Mine: cannot be called as (", "docs/add_method.md"]),
    "takes less": (
        "class Mine:\n    def __call__(self, x):\n        pass",
        ["mine.py:Mine: cannot be called as (", "too many positional arguments", "docs/add_method.md"],
    ),
    "takes more": (
        "class Mine:\n    def __call__(self, a, b, c, d, e):\n        pass",
        ["mine.py:Mine: cannot be called as (", "'", "docs/add_method.md"],
    ),
    "a module that takes less": (
        "class Mine(torch.nn.Module):\n    def forward(self, x):\n        pass",
        ["mine.py:Mine: cannot be called as ("],
    ),
    "no class": ("Mine = 3", ["mine.py:Mine", "int"]),
    "not there": ("Other = 3", ["mine.py", "no 'Mine'"]),
    "no Python": ("class Mine", ["mine.py", "SyntaxError"]),
    "exits when read": ("sys.exit(0)", ["mine.py", "SystemExit"]),
}


@pytest.mark.parametrize("experiment", ["figure2", "table1", "table2"])
@pytest.mark.parametrize("case", CLASSES)
def test_a_class_of_the_wrong_shape(refused, here, case, experiment):
    text, told = CLASSES[case]
    Path("mine.py").write_text(f"{HEAD}{text}\n")
    match experiment:
        case "figure2":
            put(FIGURE2, loss="mine.py:Mine")
        case "table1":
            put(TABLE1, row=TABLE1["row"] | {"method": "mine.py:Mine"})
        case _:
            put(TABLE2)
    refused(RUN, *told)


NETWORKS = {
    "a cut gradient": ("return self.inside(x.flatten(1)).detach()", ["no gradient"]),
    "integers": ("return self.inside(x.flatten(1)).long()", ["torch.int64", "no gradient"]),
    "a tuple": ("return self.inside(x.flatten(1)), x", ["tuple"]),
    "a vector": ("return self.inside(x.flatten(1))[:, 0]", ["(2,)"]),
    "raises": ("raise ValueError('odd')", ["ValueError: odd"]),
    "exits": ("sys.exit(0)", ["SystemExit"]),
    "another side": ("return self.inside(x[:, :, 1:].flatten(1))", ["(1, 8, 8)"]),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_a_network_of_the_wrong_shape(refused, here, case):
    body, told = NETWORKS[case]
    Path("mine.py").write_text(
        f"{HEAD}class Mine(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"        self.inside = torch.nn.Linear(64, 10)\n\n    def forward(self, x):\n        {body}\n"
    )
    put(TABLE1, row=TABLE1["row"] | {"network": "mine.py:Mine"})
    refused(RUN, "mine.py:Mine", *told)


METHODS = {
    "nothing": ("return None", 2, ["a NoneType"]),
    "an array": ("return points.numpy()", 2, ["a ndarray"]),
    "no faces": ("return trimesh.Trimesh(points.numpy(), [])", 2, ["without faces"]),
    "NaN": ("return trimesh.Trimesh([[0, 0, float('nan')], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], process=False)", 2,
            ["not finite"]),
    "raises": ("return {}[points]", 1, ["KeyError", "your own code"]),
    "exits": ("raise SystemExit", 1, ["SystemExit", "your own code"]),
}  # fmt: skip


@pytest.mark.parametrize("case", METHODS)
def test_a_method_of_ones_own_that_makes_no_mesh(refused, here, case):
    body, code, told = METHODS[case]
    Path("mine.py").write_text(
        f"import trimesh\n\n\nclass Mine:\n    def __call__(self, points, seed, device):\n        {body}\n"
    )
    put(TABLE2)
    refused(RUN, *told, code=code)


def images(count, side=8, width=8, classes=10):
    x, y = np.full((count, side, width), 9, np.uint8), np.arange(count) % classes
    np.savez("own.npz", x_train=x, y_train=y, x_test=x, y_test=y)


@pytest.mark.parametrize(
    ("make", "spec", "told"),
    [
        (lambda: images(100, width=9), TABLE1, ["own are 8 x 9", "squares"]),
        (lambda: images(100, classes=1), TABLE1, ["one class"]),
        (lambda: images(100, classes=1), FIGURE2, ["one class"]),
        (lambda: images(50), FIGURE2 | {"evaluate_on": "validation"}, ["evaluate_on", "50 training images are 5"]),
        (lambda: images(20), TABLE1, ["20 images are left", "batch of 32"]),
        (lambda: images(100, classes=2), TABLE1 | {"attacks": TABLE1["attacks"] | {"attacks": ["autoattack"]}},
         ["four classes, not 2"]),
    ],
)  # fmt: skip
def test_images_that_nothing_can_be_learnt_from(refused, here, make, spec, told):
    make()
    put(
        spec, **({"row": TABLE1["row"] | {"dataset": "own.npz"}} if "row" in spec else {"dataset": "own.npz"})
    )
    refused(RUN, *told)


def test_a_wish_for_more_images_than_there_are_is_noted(here):
    images(50)
    put(TABLE1, row=TABLE1["row"] | {"dataset": "own.npz"}, attacks=TABLE1["attacks"] | {"test_images": 80})
    main(RUN)
    notes = json.loads(Path("results/out/provenance.json").read_text())["notes"]
    assert "training.train_images asks for 64 images and there are 50: all are taken" in notes
    assert "attacks.test_images asks for 80 images and there are 50: all are taken" in notes


def test_a_read_only_place(refused, here):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    put(FIGURE2)
    Path("locked").mkdir(mode=0o500)
    refused(["run", "spec.yaml", "--out", "locked/out"], "locked/out", "Permission denied")
