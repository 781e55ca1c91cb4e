import json

import pandas as pd
import pytest
import yaml

from nls.cli import main
from nls.errors import UserError
from nls.experiments import load_suite
from nls.reporting.products import make_table, write_figure

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


def suite(losses, **changes):
    plan = {"fractions": [0.02], "seeds": 2, "losses": losses}
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


def test_the_table_says_what_was_measured_on(folder):
    losses = {"hinge": {}}
    carry_out(losses, evaluate_on="validation")
    make_table("figure2", "s").write()
    write_figure("figure2", "s")
    text = (folder / "reports" / "s" / "figure2.md").read_text()
    assert "a tenth of the training set, held out" in text
    assert "test set" not in text
    row = pd.read_csv(folder / "reports" / "s" / "figure2.csv").iloc[0]
    assert (row["steps"], row["learning rate"], row["seeds"]) == (40, 1e-3, 2)
    metrics = json.loads(next((folder / "results/s/figure2").glob("*/metrics.json")).read_text())
    assert metrics["training_images"] == 26


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
    assert text.count("not run") == 2
    load_suite(suite({"geometric_svm": {"regularization": 0.5}}, seeds_per_job=2), "config").write_specs()
    make_table("figure2", "s").write()
    text = (folder / "reports/s/figure2.md").read_text()
    assert "geometric SVM" not in text
    assert "loss_settings.regularization 0.05, not 0.5" in text
