import json
import os
import signal
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from nls.cli import main
from nls.data import Split
from nls.engine.seeds import numpy_stream
from nls.errors import UserError
from nls.experiments import figure2, load_suite
from nls.objectives.geometric_svm import GeometricSVM
from nls.reporting.figure2 import figure as draw
from nls.reporting.products import make_table
from nls.reporting.runs import Evidence

NOISY = """
import os, signal
from pathlib import Path
import torch

class Noisy:
    def __call__(self, network, points, labels):
        left = Path("calls-left")
        if left.exists():
            left.write_text(str(int(left.read_text()) - 1))
            if left.read_text() == "0":
                left.unlink()
                os.kill(os.getpid(), signal.SIGTERM)
        return (torch.rand(()) - labels * network(points).flatten()).clamp_min(0).mean()
"""


def suite(losses, seeds=2, **changes):
    plan = {"fractions": [0.02], "seeds": seeds, "losses": losses}
    figure2 = {"datasets": {"digits": plan}, "training": {"steps": 40, "batch_size": 16}} | changes
    return {"suite": "s", "experiments": {"figure2": figure2}}


def specs_of(losses, **changes):
    return load_suite(suite(losses, **changes), "config").specs["figure2"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "fetch", "digits", "--root", "data"]) == 0
    return tmp_path


def carry_out(losses, **changes):
    loaded = load_suite(suite(losses, **changes), "config")
    loaded.write_specs()
    for spec in loaded.specs["figure2"]:
        assert (
            main(
                ["run", f"results/s/specs/figure2/{spec.run}.yaml", "--out", f"results/s/figure2/{spec.run}"]
            )
            == 0
        )


def test_a_loss_may_have_its_own_training_and_name():
    first, second = specs_of(
        {"hinge": {}, "hinge-fast": {"loss": "hinge", "training": {"learning_rate": 5.0e-3}}}
    )
    assert (first.name, first.loss, first.training.learning_rate) == ("hinge", "hinge", 1e-3)
    assert (second.name, second.loss, second.training.learning_rate) == ("hinge-fast", "hinge", 5e-3)
    assert second.training.steps == first.training.steps == 40
    assert first.loss_settings == second.loss_settings == {}


def test_an_unknown_loss_is_named():
    with pytest.raises(UserError, match="take one of cross_entropy"):
        specs_of({"mine": {"loss": "hing"}})


def test_a_loss_that_draws_resumes_to_the_same_numbers(folder):
    (folder / "mine.py").write_text(NOISY)
    spec = specs_of({"mine.py:Noisy": {}})[0]
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec.model_dump(mode="json")))
    assert main(["run", "spec.yaml", "--out", "whole"]) == 0
    for call in (15, 55):
        (folder / "calls-left").write_text(str(call))
        out = f"stopped-{call}"
        assert main(["run", "spec.yaml", "--out", out]) == 143
        assert main(["run", "spec.yaml", "--out", out]) == 0
        for name in ("metrics.json", "history.csv"):
            assert (folder / out / name).read_bytes() == (folder / "whole" / name).read_bytes()


def run_of(folder, loss, out, seeds_at_once, monkeypatch):
    """Carry out twelve steps of three seeds, some trained together as on a GPU; return the exit code."""
    losses = {loss: {"regularization": 0.05} if loss == "geometric_svm" else {}}
    (spec,) = specs_of(losses, seeds=3, training={"steps": 12, "batch_size": 16})
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec.model_dump(mode="json")))
    monkeypatch.setattr(figure2, "seeds_at_once", lambda spec, train, device: seeds_at_once)
    return main(["run", "spec.yaml", "--out", out])


def test_a_class_that_is_held_out_whole_does_not_move_the_halves(folder):
    """Of six classes 0 to 2 are −1, for training too, although the only image of class 5 is held out."""
    labels = np.arange(500) % 5
    held_out = numpy_stream(0, "validation").permutation(500)[:50]
    labels[held_out[labels[held_out] == 4][0]] = 5
    images = np.where(labels < 3, 255, 0).astype(np.uint8)[:, None, None] * np.ones((8, 8), dtype=np.uint8)
    np.savez("six.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    plan = {"fractions": [1.0], "seeds": 1, "losses": {"hinge": {}}}
    figure2 = {
        "datasets": {"six.npz": plan},
        "evaluate_on": "validation",
        "training": {"steps": 40, "batch_size": 16},
    }
    loaded = load_suite({"suite": "s", "experiments": {"figure2": figure2}}, "config")
    (folder / "spec.yaml").write_text(yaml.safe_dump(loaded.specs["figure2"][0].model_dump(mode="json")))
    assert main(["run", "spec.yaml", "--out", "out"]) == 0
    assert json.loads((folder / "out/metrics.json").read_text())["accuracy"] == [1.0]


@pytest.mark.parametrize("steps", [1, 10])
def test_a_training_may_be_as_short_as_it_likes(folder, steps):
    (spec,) = specs_of({"hinge": {}}, seeds=1, training={"steps": steps, "batch_size": 16})
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec.model_dump(mode="json")))
    assert main(["run", "spec.yaml", "--out", "out"]) == 0


@pytest.fixture
def in_float64():
    torch.set_default_dtype(torch.float64)


@pytest.mark.parametrize("loss", figure2.LOSSES)
def test_seeds_together_learn_what_each_learns_alone(folder, loss, monkeypatch, in_float64):
    """Two at once, and the one left over: the same accuracies, and the same losses in the same order."""
    found = {}
    for at_once in (1, 2):
        assert run_of(folder, loss, f"out-{at_once}", at_once, monkeypatch) == 0
        out = folder / f"out-{at_once}"
        found[at_once] = json.loads((out / "metrics.json").read_text()), pd.read_csv(out / "history.csv")
    metrics, history = found[1]
    assert metrics["seeds"] == [0, 1, 2]
    assert history["loss"].nunique() == len(history) == 6, "seeds differ in initialisation and order"
    assert found[2][0] == metrics
    pd.testing.assert_frame_equal(found[2][1], history, rtol=1e-9)


def test_seeds_together_resume_to_the_same_numbers(folder, monkeypatch):
    class Stopping(GeometricSVM):
        calls = 0

        def __call__(self, *arguments):
            Stopping.calls += 1
            if Stopping.calls in stops:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().__call__(*arguments)

    stops = set()
    monkeypatch.setitem(figure2.LOSSES, "geometric_svm", Stopping)
    assert run_of(folder, "geometric_svm", "whole", 2, monkeypatch) == 0
    assert Stopping.calls == 2 * 12
    stops = {30, 40}  # in the first two seeds, and in the third
    assert run_of(folder, "geometric_svm", "stopped", 2, monkeypatch) == 143
    # With whom a seed began, it goes on.
    assert run_of(folder, "geometric_svm", "stopped", 1, monkeypatch) == 143
    assert run_of(folder, "geometric_svm", "stopped", 1, monkeypatch) == 0
    for name in ("metrics.json", "history.csv"):
        assert (folder / "stopped" / name).read_bytes() == (folder / "whole" / name).read_bytes()


def test_on_a_gpu_as_many_seeds_are_trained_together_as_fit_and_a_loss_of_ones_own_alone(monkeypatch):
    gigabytes = SimpleNamespace(total_memory=80 * 10**9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: gigabytes)
    (spec,) = specs_of({"geometric_svm": {}}, training={"batch_size": 64})
    mnist = Split(np.empty((60_000, 1, 28, 28), np.uint8), np.empty(60_000, np.int64))
    gpu = torch.device("cuda")
    assert 100 < figure2.seeds_at_once(spec, mnist, gpu) < 2000
    gigabytes.total_memory = 10**6
    assert figure2.seeds_at_once(spec, mnist, gpu) == 1
    gigabytes.total_memory = 80 * 10**9
    assert figure2.seeds_at_once(spec, mnist, torch.device("cpu")) == 1
    (own,) = specs_of({"mine.py:Mine": {}})
    assert figure2.seeds_at_once(own, mnist, gpu) == 1


def test_the_table_says_what_was_measured_on(folder):
    losses = {"hinge": {}}
    carry_out(losses, evaluate_on="validation")
    make_table("figure2", "s").write()
    text = (folder / "reports" / "s" / "figure2.md").read_text()
    assert "a tenth of the training set, held out" in text
    assert "test set" not in text
    label = draw(Evidence("s")).axes[0].get_ylabel()
    assert label == "accuracy on a tenth of the training set, held out (%)"
    row = pd.read_csv(folder / "reports" / "s" / "figure2.csv").iloc[0]
    assert (row["steps"], row["learning rate"], row["seeds"]) == (40, 1e-3, 2)
    metrics = json.loads(next((folder / "results/s/figure2").glob("*/metrics.json")).read_text())
    assert metrics["training_images"] == 26


def test_the_table_counts_every_seed_of_every_block_and_pairs_the_differences(folder):
    carry_out({"cross_entropy": {}, "hinge": {}}, seeds=3, seeds_per_job=2)
    accuracy = {
        loss: [
            value
            for block in ("000-001", "002-002")
            for value in json.loads(
                (folder / f"results/s/figure2/digits-0.02-{loss}-seeds{block}/metrics.json").read_text()
            )["accuracy"]
        ]
        for loss in ("cross_entropy", "hinge")
    }
    make_table("figure2", "s").write()
    rows = pd.read_csv(folder / "reports/s/figure2.csv").set_index("loss")
    assert set(rows["seeds"]) == {3}
    gain = np.mean(np.subtract(accuracy["hinge"], accuracy["cross_entropy"]))
    assert gain != 0
    assert rows.loc["hinge", "minus cross-entropy"] == pytest.approx(100 * gain, abs=0.006)
    assert np.isnan(rows.loc["cross-entropy", "minus cross-entropy"])


def test_a_run_of_another_loss_under_the_same_name_is_missing_and_is_run_again(folder, capsys):
    """The user's file has changed, its name and all settings have not."""
    text = "class Mine:\n    def __call__(self, network, points, labels):\n        return {}\n"
    (folder / "mine.py").write_text(text.format("(network(points).flatten() - labels).square().mean()"))
    carry_out({"mine.py:Mine": {}})
    make_table("figure2", "s").write()
    assert "missing" not in (folder / "reports/s/figure2.md").read_text()
    (folder / "mine.py").write_text(text.format("0.0 * network(points).mean()"))
    make_table("figure2", "s").write()
    assert "made from another mine.py; run snakemake again" in (folder / "reports/s/figure2.md").read_text()
    capsys.readouterr()
    carry_out({"mine.py:Mine": {}})
    told = capsys.readouterr().out
    assert "was made from another mine.py\n" in told
    assert ": running it again\n" in told
    make_table("figure2", "s").write()
    assert "missing" not in (folder / "reports/s/figure2.md").read_text()


def test_specs_of_runs_that_are_no_longer_asked_for_are_deleted(folder):
    load_suite(suite({"hinge": {}, "cross_entropy": {}}), "config").write_specs()
    specs = folder / "results/s/specs/figure2"
    kept = specs / "digits-0.02-hinge-seeds000-001.yaml"
    before = kept.stat().st_mtime_ns
    assert len(list(specs.iterdir())) == 2
    load_suite(suite({"hinge": {}}), "config").write_specs()
    assert list(specs.iterdir()) == [kept]
    assert kept.stat().st_mtime_ns == before
    load_suite({"suite": "s", "experiments": {"figure1": {}}}, "config").write_specs()
    assert not list(specs.iterdir())


def test_a_table_shows_nothing_that_the_config_does_not_ask_for(folder):
    """Fewer seeds a job and another λ: neither the old blocks nor the old λ may enter the row."""
    carry_out({"geometric_svm": {"regularization": 0.05}}, seeds_per_job=2)
    load_suite(suite({"geometric_svm": {"regularization": 0.5}}, seeds_per_job=1), "config").write_specs()
    make_table("figure2", "s").write()
    text = (folder / "reports/s/figure2.md").read_text()
    assert "geometric SVM" not in text
    assert "seeds000-000, digits-0.02-geometric_svm-seeds001-001 (not run)" in text
    load_suite(suite({"geometric_svm": {"regularization": 0.5}}, seeds_per_job=2), "config").write_specs()
    make_table("figure2", "s").write()
    text = (folder / "reports/s/figure2.md").read_text()
    assert "geometric SVM" not in text
    assert "loss_settings.regularization 0.05, not 0.5" in text
