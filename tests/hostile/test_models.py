"""Models, weights and data sets of a user's that cannot be attacked: one line, before the work, and no report."""

import io
import pickle
import warnings
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

WORDS = [
    "attack", "--weights", "w.pt", "--dataset", "d.npz", "--eps", "0.1", "--attacks", "pgd-xent", "--steps", "2",
    "--out", "out.json", "--save-adversarial", "points.npz", "--device", "cpu", "--data-root", ".cache", "--model",
]  # fmt: skip

HEAD = """
import sys
import torch
from torch import nn


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside = nn.Linear(64, 10)

    def forward(self, x):
        return self.inside(x.flatten(1))


"""
# What a class's forward pass returns, and what is told of it.
FORWARDS = {
    "a tuple": ("(super().forward(x), x)", ["(n, classes)", "a tuple"]),
    "a dictionary": ("{'logits': super().forward(x)}", ["(n, classes)", "a dict"]),
    "nothing": ("None", ["(n, classes)", "a NoneType"]),
    "a number": ("3", ["(n, classes)", "a int"]),
    "an array": ("super().forward(x).detach().numpy()", ["(n, classes)", "a ndarray"]),
    "a vector": ("super().forward(x)[:, 0]", ["(n, classes)", "(2,)"]),
    "a map": ("super().forward(x)[:, :, None]", ["(n, classes)", "(2, 10, 1)"]),
    "one row for all": ("super().forward(x)[:1]", ["n = 2", "(1, 10)"]),
    "one class": ("super().forward(x)[:, :1]", ["at least two classes"]),
    "no class": ("super().forward(x)[:, :0]", ["at least two classes"]),
    "too few classes": ("super().forward(x)[:, :5]", ["label 9", "5 classes"]),
    "integers": ("super().forward(x).long()", ["int64"]),
    "booleans": ("super().forward(x) > 0", ["bool"]),
    "complex numbers": ("super().forward(x) * 1j", ["complex64"]),
    "NaN": ("super().forward(x) * float('nan')", ["NaN or infinite"]),
    "infinity": ("super().forward(x) / 0", ["NaN or infinite"]),
    "a cut gradient": ("super().forward(x.detach()).detach()", ["no gradient", "square"]),
    "an exception": ("1 / 0", ["ZeroDivisionError"]),
    "an assertion": ("(_ for _ in ()).throw(AssertionError('28 expected'))", ["AssertionError: 28 expected"]),
    "an exit": ("sys.exit(0)", ["SystemExit"]),
    "half precision": ("super().forward(x).half()", ["torch.float16", "autocast"]),
    "an answer that depends on the batch": (
        "super().forward(x - x.mean(dim=0, keepdim=True))",
        ["other images of its batch", "running statistics"],
    ),
    "one image without its axis": ("super().forward(x).squeeze()", ["(10,) for one image", "(1, 10)"]),
    "an image that it changes": ("super().forward(x.mul_(0.5))", ["changes its images in place"]),
    "another device": ("super().forward(x).to('meta')", ["meta"]),
    "wide images expected": ("super().forward(x[:, :, :7])", ["shape (1, 8, 8)"]),
}
FACTORIES = {
    "none": ("net = 3", ["m.py:net", "int"]),
    "returns nothing": ("def net():\n    return None", ["m.py:net", "NoneType"]),
    "needs an argument": ("def net(classes):\n    return Base()", ["m.py:net", "takes no argument"]),
    "raises": ("def net():\n    raise ValueError('no\\nway')", ["m.py:net", "ValueError: no\\nway"]),
    "exits": ("def net():\n    sys.exit(0)", ["m.py:net", "SystemExit"]),
    "a name that is not there": ("other = Base", ["m.py", "holds no 'net'"]),
    "no Python": ("def net(:", ["m.py", "SyntaxError"]),
    "an import that fails": ("import no_such_package", ["m.py", "no_such_package"]),
    "exits when read": ("sys.exit(0)", ["m.py", "SystemExit"]),
    "binary": ("\0\1", ["m.py"]),
    "on the meta device": ("def net():\n    return Base().to('meta')", ["m.py:net", "meta"]),
    "a program": ("def net():\n    return torch.jit.script(nn.Linear(64, 10))", ["m.py:net", "TorchScript"]),
    "without weights of that name": ("class net(Base):\n    def __init__(self):\n        super().__init__()\n"
                                     "        self.more = nn.Linear(1, 1)", ["w.pt", "more.weight"]),
}  # fmt: skip


def legacy(state):
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def saved(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def flipped(content, place):
    changed = bytearray(content)
    changed[place] ^= 0x40
    return bytes(changed)


def program():
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # people have such files for years to come
        torch.jit.save(torch.jit.trace(nn.Linear(64, 10), torch.zeros(1, 64)), buffer)
    return buffer.getvalue()


class Touch:
    def __reduce__(self):
        return open, ("executed", "w")


STATE = nn.ModuleDict({"inside": nn.Linear(64, 10)}).state_dict()
WHOLE = saved(STATE)
# The last quarter of the largest part of the file: weights.
IN_WEIGHTS = WHOLE.index(STATE["inside.weight"].numpy().tobytes()) + 1000
WEIGHTS = {
    "empty": (b"", ["w.pt"]),
    "text": (b"weights", ["w.pt"]),
    "zeros": (bytes(1000), ["w.pt"]),
    "cut": (WHOLE[: len(WHOLE) // 2], ["w.pt"]),
    "cut at the end": (WHOLE[:-1], ["w.pt"]),
    "a flipped bit": (flipped(WHOLE, IN_WEIGHTS), ["w.pt", "checksum"]),
    "a list": (saved([1, 2]), ["w.pt", "list"]),
    "a number": (saved(3), ["w.pt", "int"]),
    "a tensor": (saved(torch.zeros(3)), ["w.pt", "Tensor"]),
    "nothing in it": (saved({}), ["w.pt", "empty"]),
    "other names": (saved({"a": torch.zeros(1)}), ["w.pt", "inside.weight"]),
    "numbers as names": (saved({1: torch.zeros(1)}), ["w.pt"]),
    "another shape": (saved({k: v[:5] for k, v in STATE.items()}), ["w.pt", "(5, 64)", "(10, 64)"]),
    "integers": (saved({k: v.long() for k, v in STATE.items()}), ["w.pt", "int64"]),
    "NaN": (saved({k: v * float("nan") for k, v in STATE.items()}), ["NaN or infinite"]),
    "on the meta device": (saved({k: v.to("meta") for k, v in STATE.items()}), ["w.pt", "no values"]),
    "sparse": (saved({k: v.to_sparse() for k, v in STATE.items()}), ["w.pt", "sparse"]),
    "a whole network": (saved(nn.Linear(64, 10)), ["w.pt", "would execute code"]),
    "code": (pickle.dumps({"inside.weight": Touch()}), ["w.pt"]),
    "a program": (program(), ["w.pt", "TorchScript", "state_dict"]),
    "a zip of text": (b"PK\x05\x06" + bytes(18), ["w.pt"]),
    "legacy, cut": (legacy(STATE)[:2000], ["w.pt"]),
    "of itself": (saved((loop := {}) or loop.update(model=loop) or loop), ["w.pt"]),
}

IMAGES = np.arange(20 * 64).astype(np.uint8).reshape(20, 8, 8)
LABELS = np.arange(20) % 10
SET = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS}


def npz(**changes):
    buffer = io.BytesIO()
    np.savez(buffer, **{key: value for key, value in (SET | changes).items() if value is not None})
    return buffer.getvalue()


def with_member(name, content, **options):
    buffer = io.BytesIO(npz(x_train=None))
    with zipfile.ZipFile(buffer, "a") as file:
        file.writestr(zipfile.ZipInfo(name), content, **options)
    return buffer.getvalue()


def with_header(text):
    content = b"\x93NUMPY\x01\x00" + (len(text) + 1).to_bytes(2, "little") + text.encode() + b"\n"
    return with_member("x_train.npy", content)


def encrypted():
    """Return an archive whose first member says that it is encrypted."""
    content = bytearray(npz())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + place] |= 1
    return bytes(content)


DATASETS = {
    "one class": (npz(y_train=LABELS * 0, y_test=LABELS * 0), ["d.npz", "one class"]),
    "structured": (npz(x_train=np.zeros(20, [("a", "u1")])), ["x_train"]),
    "dates": (npz(y_train=np.zeros(20, "datetime64[s]")), ["y_train"]),
    "text": (npz(y_train=np.array(["a"] * 20)), ["y_train"]),
    "booleans": (npz(x_test=IMAGES > 3), ["x_test", "bool"]),
    "huge integers": (npz(y_test=np.full(20, 2**63, np.uint64)), ["y_test"]),
    "a number": (npz(x_train=np.uint8(3)), ["x_train"]),
    "no pixels": (npz(x_train=IMAGES[:, :0], x_test=IMAGES[:, :0]), ["x_train"]),
    "encrypted": (encrypted(), ["d.npz"]),
    "oversized": (with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999,)}"), ["d.npz"]),
    "negative size": (with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (-5,)}"), ["d.npz"]),
    "a header that is code": (with_header("__import__('os').system('touch executed')"), ["d.npz"]),
    "a header cut": (with_member("x_train.npy", b"\x93NUMPY\x01\x00\xff\xff{"), ["d.npz"]),
    "a name that climbs": (with_member("../x_train.npy", b"x"), ["x_train"]),
    "an empty zip": (b"PK\x05\x06" + bytes(18), ["d.npz"]),
    "a flipped bit": (flipped(npz(), npz().index(IMAGES.tobytes()) + 700), ["d.npz", "CRC"]),
}  # fmt: skip


@pytest.fixture
def inputs(tmp_path):
    (tmp_path / "m.py").write_text(HEAD + "net = Base\n")
    (tmp_path / "w.pt").write_bytes(WHOLE)
    (tmp_path / "d.npz").write_bytes(npz())
    return tmp_path


@pytest.mark.parametrize("case", FORWARDS)
def test_a_model_that_answers_with_no_logits(refused, inputs, case):
    answer, told = FORWARDS[case]
    (inputs / "m.py").write_text(
        f"{HEAD}class net(Base):\n    def forward(self, x):\n        return {answer}\n"
    )
    refused([*WORDS, "m.py:net"], *told)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("case", FACTORIES)
def test_a_file_that_makes_no_model(refused, inputs, case):
    text, told = FACTORIES[case]
    (inputs / "m.py").write_text(f"{HEAD}{text}\n")
    refused([*WORDS, "m.py:net"], *told)


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_that_are_none(refused, inputs, case):
    content, told = WEIGHTS[case]
    (inputs / "w.pt").write_bytes(content)
    refused([*WORDS, "m.py:net"], *told)


@pytest.mark.parametrize("case", DATASETS)
def test_a_data_set_that_is_none(refused, inputs, case):
    content, told = DATASETS[case]
    (inputs / "d.npz").write_bytes(content)
    refused([*WORDS, "m.py:net"], *told)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("net", ["FILE.py:FACTORY"]),
        (":net", ["FILE.py:FACTORY"]),
        ("m.py:", ["m.py"]),
        ("none.py:net", ["none.py"]),
        ("m.py:no.such", ["m.py", "no.such"]),
        ("m\n.py:net", ["m\\n.py"]),
        (".py:net", [".py"]),
    ],
)
def test_a_name_that_leads_to_no_model(refused, inputs, name, told):
    refused([*WORDS, name], *told)


@pytest.mark.parametrize("asked", ["", ",", "pgd", "pgd-xent,pgd-xnet", "autoattack,apgd"])
def test_attacks_that_there_are_not(refused, inputs, asked):
    refused([*WORDS, "m.py:net", "--attacks", asked], "take some of pgd-xent")


@pytest.mark.parametrize("asked", ["apgd-t", "autoattack", "pgd-xent,autoattack"])
def test_attacks_that_need_more_classes_are_refused_before_the_others_run(
    refused, inputs, asked, monkeypatch
):
    monkeypatch.setattr("nls.attacks.report.pgd", None)
    (inputs / "m.py").write_text(f"{HEAD}class net(Base):\n    def forward(self, x):\n"
                                 "        return super().forward(x)[:, :3]\n")  # fmt: skip
    (inputs / "d.npz").write_bytes(npz(y_train=LABELS % 3, y_test=LABELS % 3))
    refused([*WORDS, "m.py:net", "--attacks", asked], "four classes")


def test_weights_of_the_old_format_are_weights(inputs, monkeypatch):
    from nls.cli import main

    monkeypatch.chdir(inputs)
    (inputs / "w.pt").write_bytes(legacy(STATE))
    assert main([*WORDS, "m.py:net"]) == 0
