"""``nls doctor``: what it says of a suite, what would stop it, and the projected cost."""

import functools
import http.server
import json
import threading

import pytest
import torch
import yaml

from nls.cli import main
from nls.experiments import doctor, load_suite
from nls.experiments.cost import _IMAGES, measure

FIGURE2 = {
    "datasets": {"digits": {"fractions": [0.02, 0.1], "seeds": 3, "losses": {"hinge": {}}}},
    "seeds_per_job": 2,
    "training": {"steps": 40, "batch_size": 16},
}
LATE = """
import time

from torch.nn.functional import cross_entropy


class Late:
    def __call__(self, model, images, labels, moment):
        end = time.process_time() + 0.05
        while moment.epoch >= 2 and time.process_time() < end:
            pass
        return cross_entropy(model(images), labels)
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """An empty folder to work in, without SLURM, where measuring is quick."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("NLS_MIRROR", raising=False)
    monkeypatch.setattr(doctor, "MEASURING_SECONDS", 1.0)
    return tmp_path


def configure(folder, **values):
    (folder / "config").mkdir(exist_ok=True)
    suite = {"suite": "s", "experiments": {"figure2": FIGURE2}} | values
    (folder / "config" / "s.yaml").write_text(yaml.safe_dump(suite))


def on_dataset(name):
    plan = FIGURE2["datasets"]["digits"]
    return {"experiments": {"figure2": FIGURE2 | {"datasets": {name: plan}}}}


def test_a_suite_that_nothing_stops(checkout, capsys):
    configure(checkout)
    assert main(["doctor", "--suite", "s"]) == 0
    said = capsys.readouterr()
    assert "STOP" not in said.out
    assert said.err == ""
    for subject in ("Python", "torch", "device", "determinism", "memory", "disk", "dataset", "SLURM"):
        assert f"ok    {subject}" in said.out
    assert "4 runs, 0 of them done" in said.out
    assert {path.name for path in checkout.iterdir()} == {"bin", "config"}  # it leaves nothing


def test_the_cost_counts_every_step_of_every_seed_once(checkout):
    suite = {"suite": "s", "experiments": {"figure2": FIGURE2}}
    (cost,) = measure(load_suite(suite, "config").specs["figure2"], 2.0)
    assert (cost.kind, cost.runs, cost.steps) == ("figure2 digits hinge", 4, 2 * 3 * 40)
    assert not cost.at_least
    assert 1e-4 < cost.step < 1


def test_data_that_were_not_fetched_are_made_up_as_if_they_were(checkout, monkeypatch):
    """A reader compares what it reads with the receipt's checksums, those of made-up data too."""
    monkeypatch.setitem(_IMAGES, "mnist", (1, 28, 28, 2000))
    specs = load_suite(
        {
            "suite": "s",
            "experiments": {
                **on_dataset("mnist")["experiments"],
                "figure3": {"curves": ["closed_noise"]},
                "table2": {
                    "data": "bodies",
                    "scans": [0],
                    "methods": {"ours": {"method": "levelset", "training": {"steps": 3}}},
                },
            },
        },
        "a test",
    ).specs
    costs = list(measure([spec for runs in specs.values() for spec in runs], 1))
    assert [cost.reason for cost in costs] == [None] * 3
    assert all(cost.made_up for cost in costs)


def test_each_method_of_a_surface_suite_is_priced_by_itself(checkout):
    methods = {
        "ours": {"method": "levelset", "training": {"steps": 3}},
        "plain": {"method": "poisson"},
        "theirs": {"method": "igr", "training": {"steps": 4}},
    }
    suite = {
        "suite": "s",
        "experiments": {
            "table2-time": {"data": "bodies", "scans": [0], "methods": methods},
            "hard_inputs": {"conditions": ["usual"], "methods": methods},
        },
    }
    specs = load_suite(suite, "a test").specs
    costs = {cost.kind: cost for cost in measure([spec for runs in specs.values() for spec in runs], 1)}
    assert {kind: cost.steps for kind, cost in costs.items()} == {
        f"{experiment} {name}": steps
        for experiment in suite["experiments"]
        for name, steps in {"ours": 3, "plain": 0, "theirs": 4}.items()
    }
    for experiment in suite["experiments"]:
        assert costs[f"{experiment} plain"].reason == "no training; seconds to minutes each"


def test_a_method_that_begins_cheaply_is_priced_by_its_whole_training(checkout):
    (checkout / "late.py").write_text(LATE)
    row = {"dataset": "digits", "network": "convnet-small", "method": "late.py:Late"}
    table1 = {
        "rows": [
            row | {"eps_train": 0.1, "training": {"epochs": 10, "batch_size": 16, "learning_rate": 1e-3}}
        ],
        "attacks": {"digits": {"eps": 0.1, "attacks": ["pgd-xent"], "steps": 1, "step_size": 0.1}},
    }
    suite = {"suite": "s", "experiments": {"table1": table1}}
    (cost,) = measure(load_suite(suite, "config").specs["table1"], 3.0)
    assert 0.02 < cost.step < 0.1, "four fifths of the steps take 0.05 s"


def test_a_kind_that_needs_more_memory_than_there_is_is_told_in_its_line(checkout, monkeypatch):
    def start(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("nls.experiments.cost.start", start)
    suite = {"suite": "s", "experiments": {"figure2": FIGURE2}}
    (cost,) = measure(load_suite(suite, "config").specs["figure2"], 1.0)
    assert cost.reason.startswith("out of memory (CUDA out of memory.)")


def test_a_run_that_is_done_costs_nothing(checkout, capsys):
    configure(checkout)
    done = checkout / "results/s/figure2/digits-0.02-hinge-seeds000-001"
    done.mkdir(parents=True)
    (done / "metrics.json").write_text("{}")
    assert main(["doctor", "--suite", "s"]) == 0
    assert "4 runs, 1 of them done" in capsys.readouterr().out


def test_a_device_that_is_not_here_stops_and_leaves_the_figures(checkout, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    configure(checkout, device="cuda")
    assert main(["doctor", "--suite", "s", "--json"]) == 2
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert [one["subject"] for one in found["findings"] if one["stops"]] == ["device"]
    assert [cost["reason"].startswith("device cuda") for cost in found["costs"]] == [True]
    assert "no device here to train on" in said.err
    assert "training takes" not in said.err


def test_an_unknown_suite_is_told_the_known_ones(checkout, capsys):
    configure(checkout)
    assert main(["doctor"]) == 2
    assert "there is no config/paper.yaml: take one of s" in capsys.readouterr().err
    assert main(["doctor", "--suite", "mine.yaml"]) == 2
    assert "there is no mine.yaml: take one of s, or give the path" in capsys.readouterr().err


def test_a_suite_may_be_given_as_a_file(checkout, capsys):
    configure(checkout, **on_dataset("mine.npz"))
    (checkout / "config/s.yaml").rename("my_suite.yaml")
    assert main(["doctor", "--suite", "my_suite.yaml"]) == 2
    assert "nls: file: mine.npz is not there" in capsys.readouterr().err


def test_a_dataset_that_cannot_be_had_stops_and_one_that_can_does_not(checkout, capsys, monkeypatch):
    configure(checkout, mirror="mirror", **on_dataset("mnist"))
    monkeypatch.setattr(doctor, "_print_costs", lambda left: [])
    assert main(["doctor", "--suite", "s"]) == 2
    assert "nls: dataset: mnist is not in data/" in capsys.readouterr().err
    assert main(["doctor", "--suite", "s", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert [one["subject"] for one in found["findings"] if one["stops"]] == ["dataset"]
    assert (found["runs"], found["done"], found["costs"]) == (4, 0, [])
    (checkout / "mirror").mkdir()
    (checkout / "mirror" / "mnist.npz").write_bytes(b"")
    assert main(["doctor", "--suite", "s"]) == 0

    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory="mirror")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("NLS_MIRROR", address)
        assert main(["doctor", "--suite", "s"]) == 0
        assert f"mnist will be fetched from {address}/mnist.npz" in capsys.readouterr().out
        server.shutdown()
    assert main(["doctor", "--suite", "s"]) == 2


def test_a_system_without_opengl_is_told(checkout, capsys, monkeypatch):
    """pymeshlab is imported without its filters there."""
    configure(checkout)
    monkeypatch.setattr(doctor, "_print_costs", lambda left: [])
    monkeypatch.setattr("pymeshlab.MeshSet", lambda verbose: object())
    assert main(["doctor", "--suite", "s"]) == 2
    assert "libraries: MeshLab's filters cannot be loaded; install" in capsys.readouterr().err


def test_partitions_of_the_profile_must_exist(checkout, capsys, monkeypatch):
    configure(checkout)
    monkeypatch.setattr(doctor, "_print_costs", lambda left: [])
    profile = checkout / "workflow/profiles/slurm/config.yaml"
    profile.parent.mkdir(parents=True)
    rules = {"table1_run": {"slurm_partition": "'gpu'"}}
    profile.write_text(
        yaml.safe_dump({"default-resources": {"slurm_partition": "'main'"}, "set-resources": rules})
    )
    sinfo = checkout / "bin" / "sinfo"

    def answer(script):
        sinfo.write_text(f"#!/bin/sh\n{script}\n")
        sinfo.chmod(0o755)
        return main(["doctor", "--suite", "s"])

    assert answer("echo main; echo gpu") == 0
    assert "reachable; partitions gpu, main" in capsys.readouterr().out
    assert answer("echo main") == 2
    assert "names the partition gpu, which is not there" in capsys.readouterr().err
    assert answer("echo 'Unable to contact slurm controller' >&2; exit 1") == 2
    assert "Unable to contact slurm controller" in capsys.readouterr().err


def test_a_file_that_the_config_names_must_be_there(checkout, capsys):
    configure(checkout, **on_dataset("mine.npz"))
    assert main(["doctor", "--suite", "s"]) == 2
    assert "nls: file: mine.npz is not there" in capsys.readouterr().err
