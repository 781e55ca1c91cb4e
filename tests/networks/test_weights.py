import argparse
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from nls.errors import UserError
from nls.networks.weights import Unwrapped, load_weights


class Normalised(nn.Module):
    """A network as people publish it: the statistics of its normalisation are buffers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 1, 1, 1))
        self.conv = nn.Conv2d(1, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.head = nn.Linear(3, 4)

    def forward(self, images):
        return self.head(self.norm(self.conv(images - self.mean)).mean((2, 3)))


@pytest.fixture
def state():
    """The weights of a trained network: nothing in them has its first value."""
    torch.manual_seed(7)
    values = Normalised().state_dict()
    return {
        name: torch.rand_like(value) + 0.5 if value.is_floating_point() else torch.tensor(12)
        for name, value in values.items()
    }


def prefixed(state, prefix):
    return {prefix + name: value for name, value in state.items()}


def only_weights(state):
    return {"epoch": 7, "lr": 0.1, "optimizer": {"state": {0: torch.ones(2)}, "param_groups": []}, **state}


FORMS = {
    "plain": (lambda state: state, Unwrapped("", "", ())),
    "PyTorch's tutorial": (
        lambda state: only_weights({"model_state_dict": state}),
        Unwrapped("model_state_dict", "", ()),
    ),
    "Lightning": (
        lambda state: only_weights({"state_dict": prefixed(state, "model.")}),
        Unwrapped("state_dict", "model.", ()),
    ),
    "DataParallel": (
        lambda state: {"net": prefixed(state, "module."), "acc": 95.1},
        Unwrapped("net", "module.", ()),
    ),
    "compiled": (lambda state: prefixed(state, "_orig_mod."), Unwrapped("", "_orig_mod.", ())),
    "compiled in parallel": (
        lambda state: {"model": prefixed(state, "module._orig_mod.")},
        Unwrapped("model", "module._orig_mod.", ()),
    ),
    "wrapped in a class": (lambda state: prefixed(state, "network."), Unwrapped("", "network.", ())),
    "averaged": (
        lambda state: {"n_averaged": torch.tensor(3), **prefixed(state, "module.")},
        Unwrapped("", "module.", ()),
    ),
    "averaged, nested": (
        lambda state: {"ema": {"decay": 0.999, "state_dict": state}},
        Unwrapped("ema.state_dict", "", ()),
    ),
    "weights of another network beside": (
        lambda state: {"model": {"other": torch.ones(2)}, "weights": state},
        Unwrapped("weights", "", ()),
    ),
    "numpy numbers and arguments beside": (
        lambda state: {
            "model": state,
            "best": np.float64(0.5),
            "count": np.int64(3),
            "args": argparse.Namespace(lr=0.1),
        },
        Unwrapped("model", "", ()),
    ),
    "float16": (
        lambda state: {
            name: value.half() if value.is_floating_point() else value for name, value in state.items()
        },
        Unwrapped("", "", ("float16",)),
    ),
    "before PyTorch 0.4.1": (
        lambda state: {name: value for name, value in state.items() if "num_batches" not in name},
        Unwrapped("", "", ()),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_checkpoints_as_people_have_them(form, state, tmp_path):
    make, told = FORMS[form]
    torch.save(make(state), tmp_path / "weights.pt")
    model = Normalised()
    assert load_weights(model, tmp_path / "weights.pt") == told
    for name, value in model.state_dict().items():
        if not (form == "before PyTorch 0.4.1" and "num_batches" in name):
            torch.testing.assert_close(value, state[name], atol=1e-3 * (form == "float16"), rtol=0)


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_safetensors(prefix, state, tmp_path):
    save_file(prefixed(state, prefix), tmp_path / "weights.safetensors")
    model = Normalised()
    assert load_weights(model, tmp_path / "weights.safetensors") == Unwrapped("", prefix, ())
    assert torch.equal(model.head.weight, state["head.weight"])


def test_what_was_unwrapped_is_told_in_words():
    assert Unwrapped("", "", ()).words() == ""
    assert Unwrapped("ema", "module.", ("float16",)).words() == (
        "taken from ema; the prefix module. removed; float16 turned into the network's numbers"
    )


def test_a_network_whose_own_names_have_a_prefix_keeps_it(state, tmp_path):
    torch.save(prefixed(state, "model."), tmp_path / "weights.pt")
    model = nn.Module()
    model.model = Normalised()
    assert load_weights(model, tmp_path / "weights.pt") == Unwrapped("", "", ())
    assert torch.equal(model.model.head.weight, state["head.weight"])


def test_of_several_that_fit_a_key_chooses(state, tmp_path):
    averaged = {name: value + 1 for name, value in state.items()}
    torch.save({"model": state, "ema": averaged, "mine.v2": averaged}, tmp_path / "w.pt")
    model = Normalised()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(
        UserError, match=r"w.pt: model, ema all fit the network: choose one with --weights-key"
    ):
        load_weights(model, tmp_path / "w.pt")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    for key in ("ema", "mine.v2"):
        assert load_weights(model, tmp_path / "w.pt", key) == Unwrapped(key, "", ())
        assert torch.equal(model.head.weight, averaged["head.weight"])


def test_a_key_may_be_a_number(state, tmp_path):
    torch.save({3: {"model": state}, 4: {"model": state}}, tmp_path / "w.pt")
    assert load_weights(Normalised(), tmp_path / "w.pt", "3") == Unwrapped("3.model", "", ())
    assert load_weights(Normalised(), tmp_path / "w.pt", "4.model") == Unwrapped("4.model", "", ())


def test_a_key_may_lead_through_levels(state, tmp_path):
    torch.save({"run": {"best": {"model": state}}}, tmp_path / "w.pt")
    model = Normalised()
    assert load_weights(model, tmp_path / "w.pt", "run.best") == Unwrapped("run.best.model", "", ())
    assert torch.equal(model.head.weight, state["head.weight"])


MISSING = "the first name that is missing is mean (1, 1, 1, 1)"
BAD = {
    "no candidate": (
        lambda state: {letter: {letter: 1} for letter in "abcdefg"},
        None,
        f"no state_dict was found (--weights-key names its key); its keys are a, b, c, d, e and 2 more; {MISSING}",
    ),
    "empty": (
        lambda state: {},
        None,
        f"no state_dict was found (--weights-key names its key); it is empty; {MISSING}",
    ),
    "no such key": (
        lambda state: {"model": state, "epoch": 3},
        "best",
        f"no state_dict under best; its keys are model, epoch; {MISSING}",
    ),
    "a key of something else": (
        lambda state: {"model": state, "epoch": 3},
        "epoch",
        f"no state_dict under epoch; its keys are model, epoch; {MISSING}",
    ),
    "a name is missing": (
        lambda state: {"model": {name: state[name] for name in state if name != "conv.bias"}, "epoch": 3},
        None,
        "under model, lacks conv.bias (3,), which the network has; its keys are model, epoch",
    ),
    "another shape": (
        lambda state: {"net": prefixed(state | {"head.bias": torch.ones(5)}, "module.")},
        None,
        "under net, head.bias has shape (5,), the network's has (4,); its keys are net",
    ),
    "other numbers": (
        lambda state: state | {"head.bias": torch.ones(4, dtype=torch.int8)},
        None,
        "head.bias holds torch.int8, the network's torch.float32",
    ),
    "numbers for names": (
        lambda state: {"model": {0: torch.ones(2)}, 3: 4},
        None,
        "under model, lacks mean (1, 1, 1, 1), which the network has; its keys are model, 3",
    ),
    "one more": (
        lambda state: state | {"tail.bias": torch.ones(5)},
        None,
        "holds tail.bias (5,), which the network lacks",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_one_line_that_names_it(case, state, tmp_path):
    make, key, message = BAD[case]
    torch.save(make(state), tmp_path / "weights.pt")
    model = Normalised()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UserError) as error:
        load_weights(model, tmp_path / "weights.pt", key)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


class Executing:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("place", ["outside", "beside", "inside"])
def test_no_code_of_a_file_is_executed(place, state, tmp_path):
    code = Executing(tmp_path / "executed")
    content = {
        "outside": code,
        "beside": {"model": state, "logger": code},
        "inside": {"model": state | {"conv.bias": code}},
    }[place]
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    with pytest.raises(UserError, match=r"weights.pt: refused, because reading it would execute code"):
        load_weights(Normalised(), path)
    path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(UserError, match=r"weights.pt: refused, because reading it would execute code"):
        load_weights(Normalised(), path)
    assert not (tmp_path / "executed").exists()
