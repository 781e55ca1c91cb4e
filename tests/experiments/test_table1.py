import csv
import json
import os
import re
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy import stats

from nls.attacks import library_attack
from nls.cli import main
from nls.data import load_images
from nls.engine.files import write_text
from nls.engine.runs import execute
from nls.engine.yaml_files import yaml_text
from nls.errors import Interrupted, UserError
from nls.experiments import blackbox, load_suite, table1
from nls.experiments.common import Common
from nls.experiments.training import network_for
from nls.reporting.blackbox import transfer_tables
from nls.reporting.runs import Evidence, read_run

ATTACKS = {
    "digits": {
        "eps": 0.1,
        "attacks": ["pgd-xent", "pgd-margin", "square"],
        "steps": 6,
        "step_size": 0.03,
        "starts": 2,
        "test_images": 60,
        "queries": 20,
        "curve_eps": [0.0, 0.05, 0.1],
        "curve_steps": 20,
        "curve_images": 40,
    }
}
TRAINING = {"epochs": 2, "batch_size": 64, "learning_rate": 3e-3, "milestones": [1], "train_images": 640}
OURS = {"eps_correct": 0.1, "eps_wrong": 0.1, "eps_attack": 0.1, "steps": 5, "step_size": 0.05}

# A method that asks for the end of the process, once, in the second epoch.
INTERRUPTING = """
import os, signal
from pathlib import Path
from types import SimpleNamespace
from nls.objectives.madry import Madry

class Once:
    def __init__(self, flag=""):
        self.flag = flag
        self.madry = Madry(eps=0.1, steps=2, step_size=0.1)

    def __call__(self, model, images, labels, moment):
        if self.flag and moment.epoch > 1.2 and not Path(self.flag).exists():
            Path(self.flag).touch()
            os.kill(os.getpid(), signal.SIGTERM)
        return self.madry(model, images, labels, moment)
"""

COUNTING = """
import os, signal
from torch.nn.functional import cross_entropy

class Counts:
    def __init__(self, stops_at=0):
        self.calls, self.stops_at = 0, stops_at

    def state_dict(self):
        return {"calls": self.calls}

    def load_state_dict(self, state):
        self.calls = state["calls"]

    def __call__(self, model, images, labels, moment):
        self.calls += 1
        if self.calls == self.stops_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return cross_entropy(model(images), labels) / self.calls
"""


def specs(tmp_path, seeds=1, **rows):
    common = Common(suite="test", device="cpu", data_root=str(tmp_path), checkpoint_minutes=60.0)
    config = table1.Config(
        seeds=seeds,
        rows=[
            {"dataset": "digits", "network": "convnet-small", "training": TRAINING} | row
            for row in rows.values()
        ],
        attacks=ATTACKS,
    )
    expanded = table1.expand(config, common)
    return dict(zip(rows, expanded, strict=True)) if seeds == 1 else expanded


def carried_out(spec, directory):
    execute(spec, table1.run, directory)
    return json.loads((directory / "metrics.json").read_text())


def test_a_run_trains_attacks_and_repeats(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = {"method": "ours", "eps_train": 0.1, "settings": OURS}
    spec = specs(tmp_path, ours=row)["ours"]
    assert spec.run == "digits-convnet-small-ours-0.1"
    assert spec.datasets() == ["digits"]
    metrics = carried_out(spec, tmp_path / "first")
    assert metrics["n"] == 60
    assert set(metrics["robust_accuracy"]) == {"pgd-xent", "pgd-margin", "square", "min"}
    assert metrics["parameters"] == 38_282
    assert "held_out" not in metrics
    assert metrics["settings"]["pgd"]["starts"] == 2
    for curve in ("eps_curve", "steps_curve"):
        for loss in ("pgd-xent", "pgd-margin"):
            values = metrics[curve][loss]
            assert values == sorted(values, reverse=True)
    history = (tmp_path / "first" / "history.csv").read_text().splitlines()
    assert history[0] == "epoch,learning_rate,loss,train_accuracy,train_robust_accuracy"
    assert [line.split(",")[1] for line in history[1:]] == ["0.003", "0.0015"]
    carried_out(spec, tmp_path / "second")
    for name in ("metrics.json", "history.csv", "weights.safetensors"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_an_interrupted_run_ends_with_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "once.py").write_text(INTERRUPTING)
    method = {"method": "once.py:Once", "training": TRAINING | {"average": 0.9, "held_out": 64}}
    through = specs(tmp_path, a=method)["a"]
    stopped = specs(tmp_path, a=method | {"settings": {"flag": "asked"}})["a"]
    assert through.run == "digits-convnet-small-once"
    assert through.files_read() == ["once.py"]
    carried_out(through, tmp_path / "through")
    with pytest.raises(Interrupted):
        carried_out(stopped, tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "metrics.json").exists()
    carried_out(stopped, tmp_path / "stopped")
    for name in ("metrics.json", "history.csv", "weights.safetensors"):
        assert (tmp_path / "through" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes()
    assert json.loads((tmp_path / "stopped" / "provenance.json").read_text())["interruptions"] == 1
    columns, *epochs = csv.reader((tmp_path / "stopped" / "history.csv").read_text().splitlines())
    best = max(float(epoch[columns.index("held_out_robust_accuracy")]) for epoch in epochs)
    assert (
        json.loads((tmp_path / "stopped" / "metrics.json").read_text())["held_out"]["robust_accuracy"] == best
    )


def test_the_network_of_another_run_helps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hat = {"method": "hat", "helper": "digits-convnet-small-standard", "settings": {"eps": 0.1, "steps": 2}}
    found = specs(tmp_path, standard={"method": "standard"}, hat=hat)
    helper = tmp_path / "results/test/table1/digits-convnet-small-standard"
    assert found["hat"].files_read() == [str(helper.relative_to(tmp_path) / "metrics.json")]
    second = specs(tmp_path, seeds=[1], hat=hat)[0]
    assert second.files_read() == [f"{helper.relative_to(tmp_path)}-seed1/metrics.json"]
    for spec in found.values():
        carried_out(spec, helper.with_name(spec.run))
    assert (helper.with_name("digits-convnet-small-hat") / "metrics.json").exists()


def test_the_helper_is_named_by_its_run_alone(tmp_path):
    hat = {"method": "hat", "settings": {"eps": 0.1, "helper": "weights.pt"}}
    for row in (hat, hat | {"helper": "digits-convnet-small-standard"}):
        with pytest.raises(ValueError, match="under the row's key helper"):
            specs(tmp_path, hat=row)


def test_what_a_method_counts_travels_with_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "counts.py").write_text(COUNTING)
    whole, stopped = specs(
        tmp_path,
        a={"method": "counts.py:Counts"},
        b={"method": "counts.py:Counts", "settings": {"stops_at": 5}, "variant": "b"},
    ).values()
    carried_out(whole, tmp_path / "whole")
    with pytest.raises(Interrupted):
        carried_out(stopped, tmp_path / "stopped")
    carried_out(stopped, tmp_path / "stopped")
    for name in ("history.csv", "weights.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes()


def test_a_run_stopped_in_its_attacks_repeats_none_that_was_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = specs(tmp_path, a={"method": "standard"})["a"]
    plan = spec.attacks.model_copy(update={"attacks": ["pgd-xent", "square"], "batch_size": 8})
    spec = spec.model_copy(update={"attacks": plan})
    through = carried_out(spec, tmp_path / "through")

    done = []

    def stopping(name, model, images, *arguments, **settings):
        done.append(len(images))
        if len(done) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return library_attack(name, model, images, *arguments, **settings)

    monkeypatch.setattr("nls.attacks.report.library_attack", stopping)
    with pytest.raises(Interrupted):
        carried_out(spec, tmp_path / "stopped")
    assert done == [8, 8]
    monkeypatch.setattr("nls.attacks.report.pgd", lambda *_, **__: pytest.fail("PGD was done"))
    assert carried_out(spec, tmp_path / "stopped") == through
    assert sum(done) == round(through["clean_accuracy"] * through["n"]), (
        "every correct example was attacked once"
    )


def test_the_seconds_of_training_and_attacks_are_those_of_a_run_that_was_not_stopped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = specs(tmp_path, a={"method": "standard"})["a"]
    plan = spec.attacks.model_copy(update={"attacks": ["square"], "batch_size": 20})
    spec = spec.model_copy(update={"attacks": plan})
    clock, pieces, curves = [0.0], [], []
    monkeypatch.setattr("nls.engine.runs.time", SimpleNamespace(monotonic=lambda: clock[0]))

    def taking(seconds, done, stops_at, work):
        def carried_out(*arguments, **settings):
            clock[0] += seconds
            done.append(work)
            if len(done) == stops_at:
                os.kill(os.getpid(), signal.SIGTERM)
            return work(*arguments, **settings)

        return carried_out

    monkeypatch.setattr("nls.attacks.report.library_attack", taking(100, pieces, 2, library_attack))
    monkeypatch.setattr("nls.experiments.table1.pgd", taking(1000, curves, 1, table1.pgd))
    for _ in range(2):
        with pytest.raises(Interrupted):
            carried_out(spec, tmp_path / "run")
    carried_out(spec, tmp_path / "run")
    assert len(pieces) >= 3
    assert len(curves) >= 2
    timings = json.loads((tmp_path / "run/provenance.json").read_text())["timings"]
    assert timings == {"training": [0.0], "attacks": [100.0 * len(pieces)]}


def test_augmented_training_and_sgd_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes = {"epochs": 3, "augment": True, "optimizer": "sgd", "learning_rate": 0.02, "batch_size": 32}
    row = {"method": "standard", "training": TRAINING | changes}
    assert carried_out(specs(tmp_path, a=row)["a"], tmp_path / "run")["clean_accuracy"] > 0.1


def test_curves_agree_with_attacks_of_that_length(tmp_path):
    spec = specs(tmp_path, a={"method": "standard"})["a"]
    torch.manual_seed(0)
    network = network_for(load_images("digits", tmp_path), "convnet-small")
    images, labels = torch.rand(30, 1, 8, 8), torch.randint(10, (30,))
    labels = network(images).argmax(1)
    curve = table1.steps_curve(network, images, labels, spec.attacks, 0)
    plan = spec.attacks.model_copy(update={"curve_steps": 10})
    shorter = table1.steps_curve(network, images, labels, plan, 0)
    longer = dict(zip(curve["steps"], curve["pgd-margin"], strict=True))
    assert [longer[step] for step in shorter["steps"]] == shorter["pgd-margin"]
    assert shorter["pgd-margin"][0] > shorter["pgd-margin"][-1]
    eps = table1.eps_curve(network, images, labels, spec.attacks, 0)
    assert eps["pgd-xent"][0] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "fgsm"}, "take one of standard, madry"),
        ({"method": "standard", "network": "vgg"}, r"take one of convnet4a.*, or file\.py:Factory"),
        ({"method": "standard", "dataset": "mnist"}, "attacks has no key 'mnist'"),
    ],
)
def test_bad_rows_name_what_is_allowed(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        specs(tmp_path, a=change)


def test_every_row_runs_with_every_seed_and_the_first_seed_keeps_its_name(tmp_path):
    row = {"method": "madry", "eps_train": 0.3, "settings": {"eps": 0.3}}
    name = "digits-convnet-small-madry-0.3"
    named = {spec.run: spec.seed for spec in specs(tmp_path, seeds=3, a=row, b={"method": "standard"})}
    assert [run for run in named if "madry" in run] == [name, f"{name}-seed1", f"{name}-seed2"]
    assert len(named) == 6
    assert [(spec.run, spec.seed) for spec in specs(tmp_path, seeds=[7, 0], a=row)] == [
        (f"{name}-seed7", 7),
        (name, 0),
    ]
    assert specs(tmp_path, a=row)["a"] == specs(tmp_path, seeds=3, a=row)[0]
    variant = specs(tmp_path, a=row | {"variant": "slow"})["a"]
    assert variant.run == name.replace("-madry-", "-madry-slow-")


def test_three_seeds_from_training_to_differences(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    plan = ATTACKS["digits"] | {"attacks": ["pgd-xent", "pgd-margin"], "test_images": 40, "starts": 1}
    plan |= {"steps": 3, "curve_eps": [], "curve_steps": 1, "curve_images": 10}
    training = {"epochs": 1, "batch_size": 32, "learning_rate": 3e-3, "train_images": 320}
    row = {"dataset": "digits", "network": "convnet-small", "eps_train": 0.1, "training": training}
    rows = [
        row | {"method": "ours", "settings": OURS},
        row | {"method": "madry", "settings": {"eps": 0.1, "steps": 1, "step_size": 0.1}},
    ]
    experiment = {"seeds": 3, "rows": rows, "attacks": {"digits": plan}}
    suite = load_suite({"suite": "seeds", "experiments": {"table1": experiment}}, "config")
    suite.write_specs()
    found = {}
    for spec in suite.specs["table1"]:
        metrics = carried_out(spec, tmp_path / "results" / "seeds" / "table1" / spec.run)
        found.setdefault(spec.row.method, []).append(100 * metrics["mean_over_starts"]["pgd-margin"])
    assert len({*found["ours"], *found["madry"]}) > 2, "seeds make a difference"
    capsys.readouterr()
    assert main(["table", "table1", "--suite", "seeds"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"{np.mean(found['ours']):.2f} ± {np.std(found['ours'], ddof=1):.2f}" in printed
    assert "claim: " not in printed, "the paper claims nothing about digits"
    assert main(["table", "table1-differences", "--suite", "seeds", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    (line,) = [one for one in rows if (one["other"], one["measure"]) == ("madry 0.1", "pgd-margin")]
    interval = stats.ttest_rel(found["ours"], found["madry"]).confidence_interval(0.95)
    assert (line["95% low (here)"], line["95% high (here)"]) == pytest.approx(tuple(interval), abs=0.006)
    assert line["pairs (here)"] == 3


# A network trained nowhere else, and the same written in the other ways that a factory may be called.
OWN_NETWORK = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self, channels, side, classes, width=4):
        super().__init__(nn.Conv2d(channels, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(),
                         nn.Linear(width * (side - 2) ** 2, classes))

def fixed(width=6):
    return Net(1, 8, 10, width)

def ten(classes):
    return Net(1, 8, classes)

def positional(c, s, k):
    return Net(c, s, k)

def demanding(channels, depth):
    return Net(channels, 8, 10)

def wrong_classes():
    return Net(1, 8, 11)

def wrong_side():
    return Net(1, 28, 10)

def nothing():
    return None

def frozen():
    return Net(1, 8, 10).requires_grad_(False)
"""


def test_a_network_of_ones_own_is_trained_attacked_and_transferred(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my nets.py").write_text(OWN_NETWORK)
    rows = specs(
        tmp_path,
        a={"method": "standard", "network": "my nets.py:Net"},
        b={
            "method": "madry",
            "eps_train": 0.1,
            "network": "my nets.py:Net",
            "settings": {"eps": 0.1, "steps": 2, "step_size": 0.1},
        },
    )
    assert [spec.run for spec in rows.values()] == [
        "digits-my_nets.Net-standard",
        "digits-my_nets.Net-madry-0.1",
    ]
    for spec in rows.values():
        assert spec.needs() == [f"{tmp_path}/digits/complete.json", "my nets.py"]
        metrics = carried_out(spec, tmp_path / "results" / "test" / "table1" / spec.run)
        assert metrics["parameters"] == 4 * 9 + 4 + 8 + 4 * 36 * 10 + 10
        assert metrics["clean_accuracy"] > 0.5
    group = {
        "dataset": "digits",
        "network": "my nets.py:Net",
        "models": [spec.run for spec in rows.values()],
        "transfer": {"eps": 0.1, "steps": 3, "step_size": 0.05, "test_images": 50},
    }
    common = Common(suite="test", device="cpu", data_root=str(tmp_path), checkpoint_minutes=60.0)
    first, second = blackbox.expand(blackbox.Config(groups=[group]), common)
    assert "my nets.py" in first.files_read()
    wrong = first.model_copy(update={"group": first.group.model_copy(update={"network": "convnet-small"})})
    with pytest.raises(
        UserError, match=r"network is convnet-small, but digits-my_nets\.Net-standard has my nets"
    ):
        execute(wrong, blackbox.run, tmp_path / "wrong")
    for spec in (first, second):
        execute(spec, blackbox.run, tmp_path / "results" / "test" / "blackbox" / spec.run)
    tables = transfer_tables(
        [read_run(tmp_path / "results" / "test" / "blackbox" / spec.run) for spec in (first, second)]
    )
    ((group, table), _) = tables.items()
    assert (group.dataset, group.network, group.loss) == ("digits", "my nets.py:Net", "xent")
    assert list(table.columns) == list(table.index) == ["standard", "madry-0.1"]

    before = rows["a"].identity()
    (tmp_path / "my nets.py").write_text(OWN_NETWORK + "\n")
    assert rows["a"].identity() != before, "a change of the file is a change of the run"


@pytest.mark.parametrize("factory", ["Net", "fixed", "ten", "positional"])
def test_a_factory_gets_what_it_has_parameters_for(tmp_path, monkeypatch, factory):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(OWN_NETWORK)
    network = network_for(load_images("digits", tmp_path), f"nets.py:{factory}")
    assert network(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert network.training
    assert network[0].out_channels == (6 if factory == "fixed" else 4)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("none.py:Net", "there is no file none.py"),
        ("nets.py:Missing", "holds no 'Missing'"),
        ("nets.py:demanding", "the factory failed.*may have the parameters channels, side and classes"),
        ("nets.py:wrong_classes", r"returns \(2, 11\) for 2 images, not logits of shape \(2, 10\)"),
        ("nets.py:wrong_side", r"does not take images of shape \(1, 8, 8\)"),
        ("nets.py:nothing", "returned NoneType, not a torch.nn.Module"),
        ("nets.py:frozen", "no parameters to train"),
    ],
)
def test_a_network_that_does_not_fit_is_told_in_one_line_before_training(
    tmp_path, monkeypatch, capsys, network, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(OWN_NETWORK)
    spec = specs(tmp_path, a={"method": "standard", "network": network})["a"]
    write_text(tmp_path / "spec.yaml", yaml_text(spec.model_dump(mode="json")))
    assert main(["run", "spec.yaml", "--out", "run"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert re.search(message, told[0])
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_settings_that_a_method_does_not_take(tmp_path):
    (tmp_path / "mine.py").write_text("class Mine:\n    def __init__(self, eps):\n        self.eps = eps\n")
    spec = specs(tmp_path, a={"method": f"{tmp_path}/mine.py:Mine", "settings": {"epsilon": 0.1}})["a"]
    with pytest.raises(UserError, match="Mine: does not take the settings"):
        execute(spec, table1.run, tmp_path / "run")


def test_transfer_between_trained_networks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick = {"training": TRAINING | {"epochs": 3}}
    rows = specs(
        tmp_path,
        standard={"method": "standard"} | quick,
        madry={"method": "madry", "eps_train": 0.1, "settings": {"eps": 0.1, "steps": 3, "step_size": 0.07}}
        | quick,
    )
    for spec in rows.values():
        carried_out(spec, tmp_path / "results" / "test" / "table1" / spec.run)
    common = Common(suite="test", device="cpu", data_root=str(tmp_path), checkpoint_minutes=60.0)
    names = [spec.run for spec in rows.values()]
    config = blackbox.Config(
        groups=[
            {
                "dataset": "digits",
                "network": "convnet-small",
                "models": names,
                "transfer": {"eps": 0.15, "steps": 10, "step_size": 0.03},
            }
        ]
    )
    for spec in blackbox.expand(config, common):
        directory = tmp_path / "results" / "test" / "blackbox" / spec.run
        execute(spec, blackbox.run, directory)
        metrics = json.loads((directory / "metrics.json").read_text())
        other = next(name for name in names if name != spec.source)
        for loss in ("xent", "margin"):
            accuracy = metrics["accuracy"][loss]
            assert accuracy[spec.source] < metrics["clean"][spec.source]
            # Whoever knows the network does it more harm than who does not.
            assert (
                accuracy[spec.source] / metrics["clean"][spec.source]
                < accuracy[other] / metrics["clean"][other]
            )
    weights = load_file(spec.model_directory(spec.source) / "weights.safetensors")
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_networks_of_one_seed_are_tried_on_one_another():
    common = Common(suite="test", device="cpu", data_root="data", checkpoint_minutes=60.0)
    transfer = {"eps": 0.1, "steps": 1, "step_size": 0.1}
    group = {"dataset": "digits", "network": "convnet-small", "models": ["a", "b"], "transfer": transfer}
    found = blackbox.expand(blackbox.Config(seeds=2, groups=[group]), common)
    assert [(spec.run, spec.source, spec.group.models) for spec in found] == [
        ("from-a", "a", ["a", "b"]),
        ("from-a-seed1", "a-seed1", ["a-seed1", "b-seed1"]),
        ("from-b", "b", ["a", "b"]),
        ("from-b-seed1", "b-seed1", ["a-seed1", "b-seed1"]),
    ]


def test_groups_of_one_network_and_of_one_source_are_runs_of_their_own():
    common = Common(suite="test", device="cpu", data_root="data", checkpoint_minutes=60.0)
    transfer = {"eps": 0.1, "steps": 1, "step_size": 0.1}
    group = {"dataset": "digits", "network": "convnet-small", "models": ["a", "b"], "transfer": transfer}
    others = [group | {"models": ["c", "d"]}, group | {"transfer": transfer | {"eps": 0.2}}]
    found = blackbox.expand(blackbox.Config(groups=[group, *others]), common)
    assert [(spec.run, spec.source, spec.group.models, spec.group.transfer.eps) for spec in found] == [
        ("from-a", "a", ["a", "b"], 0.1),
        ("from-b", "b", ["a", "b"], 0.1),
        ("from-c", "c", ["c", "d"], 0.1),
        ("from-d", "d", ["c", "d"], 0.1),
        ("from-a-group2", "a", ["a", "b"], 0.2),
        ("from-b-group2", "b", ["a", "b"], 0.2),
    ]
    for groups, message in (
        ([group, group], "two groups are equal"),
        ([group | {"models": ["a", "a"]}], "twice"),
    ):
        with pytest.raises(ValueError, match=message):
            blackbox.Config(groups=groups)


def test_transfer_between_networks_of_another_config_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = ATTACKS["digits"] | {"attacks": ["pgd-xent"], "test_images": 20, "starts": 1, "steps": 1}
    plan |= {"curve_eps": [], "curve_steps": 1, "curve_images": 10}
    group = {
        "dataset": "digits",
        "network": "convnet-small",
        "models": [f"digits-convnet-small-{name}" for name in ("standard-a", "standard-b")],
        "transfer": {"eps": 0.1, "steps": 1, "step_size": 0.1, "test_images": 20},
    }

    def suite(epochs):
        training = {"epochs": epochs, "batch_size": 32, "learning_rate": 3e-3, "train_images": 64}
        row = {"dataset": "digits", "network": "convnet-small", "method": "standard", "training": training}
        table = {"rows": [row | {"variant": name} for name in "ab"], "attacks": {"digits": plan}}
        experiments = {"table1": table, "blackbox": {"groups": [group]}}
        found = load_suite({"suite": "s", "data_root": str(tmp_path), "experiments": experiments}, "config")
        found.write_specs()
        return found

    for name, recipe in (("table1", table1), ("blackbox", blackbox)):
        for spec in suite(1).specs[name]:
            execute(spec, recipe.run, tmp_path / "results" / "s" / name / spec.run)
    assert [record.missing_because for record in Evidence("s").here("blackbox")] == [None, None]
    spec = suite(2).specs["table1"][0]
    (reason,) = {record.missing_because for record in Evidence("s").here("blackbox")}
    assert "digits-convnet-small-standard-a, which is missing (made with other settings" in reason
    shutil.rmtree(tmp_path / "results" / "s" / "table1" / spec.run)
    execute(spec, table1.run, tmp_path / "results" / "s" / "table1" / spec.run)
    (reason,) = {record.missing_because for record in Evidence("s").here("blackbox")}
    assert f"made from another results/s/table1/{spec.run}/metrics.json" in reason


def test_missing_weights_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = Common(suite="test", device="cpu", data_root=str(tmp_path), checkpoint_minutes=60.0)
    group = {
        "dataset": "digits",
        "network": "convnet-small",
        "models": ["a", "b"],
        "transfer": {"eps": 0.1, "steps": 1, "step_size": 0.1},
    }
    spec = blackbox.expand(blackbox.Config(groups=[group]), common)[0]
    with pytest.raises(UserError, match=r"results/test/table1/a: provenance.json is missing; delete"):
        execute(spec, blackbox.run, tmp_path / "run")
