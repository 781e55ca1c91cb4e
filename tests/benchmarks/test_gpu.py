"""The script for a first hour with a GPU runs without one, whatever fails or takes too long in it."""

import gzip
import json
import time
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import agreement, few_images, gpu, inputs, suite
from nls.engine.yaml_files import read_yaml
from nls.experiments.cost import loops_of

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _trained_for_a_moment(monkeypatch):
    """Take networks after a few steps, all the same."""
    for file in (agreement, few_images):
        for name in {"classifier", "separator"} & vars(file).keys():
            monkeypatch.setattr(file, name, partial(getattr(inputs, name), steps=10))


def found_in(folder):
    text = (folder / "benchmarks.md").read_text(encoding="utf-8")
    return json.loads((folder / "benchmarks.json").read_text(encoding="utf-8")), text


@pytest.fixture
def small_config(tmp_path):
    """The smoke suite with a row or two of each experiment, whose steps have few operations."""
    values = read_yaml(suite.SMOKE)
    experiments = values["experiments"]
    experiments["table1"]["rows"] = experiments["table1"]["rows"][3:4]
    experiments["table1"]["rows"][0]["settings"]["steps"] = 2
    experiments["figure2"]["datasets"]["digits"]["losses"]["geometric_svm"]["max_iterations"] = 2
    experiments["figure3"]["fit"] |= {"width": 32, "depth": 2}
    del experiments["blackbox"]  # between rows that are gone
    experiments["table2"]["methods"] = {
        "igr": {"method": "igr", "width": 32, "depth": 2, "training": {"steps": 50, "batch": 100}},
        "poisson": {"method": "poisson", "depth": 8},
    }
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def test_every_part_runs_on_a_cpu(small_config, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "_config", lambda report: small_config)
    few = ("cross-entropy (2 classes)", "projection (Eq. 4)", "nearest neighbours")
    monkeypatch.setattr(agreement, "COMPUTED", {name: agreement.COMPUTED[name] for name in few})
    nothing = SimpleNamespace(__name__="nothing", rows=lambda quick, device: [])
    for file in ("attacks", "surfaces"):
        monkeypatch.setattr(gpu, file, nothing)
    monkeypatch.setattr(few_images, "BATCH", 16)
    out = tmp_path / "out"
    assert command.main(["--gpu", str(out), "--device", "cpu"]) == 0
    found, text = found_in(out)
    assert (
        list(found["parts"])
        == list(gpu.PARTS)
        == ["device", "agreement", "ratios", "suite", "seeds", "traces"]
    )
    assert not found["failed"]
    assert not found["skipped"]
    loops = found["parts"]["suite"]["loops"]
    assert {loop["experiment"] for loop in loops} == {"table1", "figure2", "table2", "figure3"}
    assert all(loop["per_step"] > 0 and loop["hours"] > 0 for loop in loops)
    slowest = sorted(loops, key=lambda loop: -loop["per_step"])[:3]
    traced = found["parts"]["traces"]["files"]
    assert list(traced) == [loop["name"] for loop in slowest]
    for file in traced.values():
        with gzip.open(out / file) as trace:
            assert json.load(trace)["traceEvents"]
    assert "steps a second" in text


def test_a_part_that_fails_or_hangs_stops_no_other(tmp_path, monkeypatch):
    def fails(report):
        raise ValueError("no such kernel")

    def hangs(report):
        while True:
            time.sleep(0.01)

    def works(report):
        assert not report.has_time("an item too many")
        return {"answer": 42}, "a table"

    parts = {
        "first": (fails, 0, 0.5),
        "second": (hangs, 0, 0.01),
        "third": (works, 0, 0.0),
        "late": (works, 1e4, 1),
    }
    monkeypatch.setattr(gpu, "PARTS", parts)
    assert gpu.measure(tmp_path, CPU, 8) == 1
    found, text = found_in(tmp_path)
    assert found["failed"] == {"first": "ValueError: no such kernel"}
    assert found["parts"]["third"]["answer"] == 42
    assert found["skipped"][0].startswith("second (it took more than")
    assert found["skipped"][1:] == ["an item too many", "late"]
    assert "**Failed: first.**" in text
    assert "a table" in text


def test_only_time_running_out_is_no_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "PARTS", {"late": (gpu._device, 1e4, 1)})
    assert gpu.measure(tmp_path, CPU, 1) == 0
    assert found_in(tmp_path)[0]["skipped"] == ["late"]


# The others take seconds each; a GPU's page has them all.
SLOW = {"PGD on cross-entropy, verdicts", "PGD on the margin, verdicts", "ascent by signs", "MMA"}


@pytest.mark.parametrize("name", sorted(agreement.COMPUTED.keys() - SLOW))
def test_float32_agrees_with_float64(name, monkeypatch):
    monkeypatch.setattr(agreement, "COMPUTED", {name: agreement.COMPUTED[name]})
    (found,) = agreement.agreements(CPU)
    assert found.holds
    assert found.difference < 0.9 * found.tolerance


def test_a_device_that_computes_something_else_is_found(monkeypatch, tmp_path):
    def rounded(device, dtype):
        values = torch.linspace(1, 2, 100, dtype=dtype)
        return values if dtype == torch.float64 else values.bfloat16().float()

    monkeypatch.setattr(agreement, "COMPUTED", {"rounded": (rounded, agreement.EXACT)})
    monkeypatch.setattr(gpu, "PARTS", {"agreement": gpu.PARTS["agreement"]})
    assert gpu.measure(tmp_path, CPU, 300) == 1
    assert "rounded" in found_in(tmp_path)[0]["failed"]["agreement, values"]


def test_draws_are_the_same_for_every_type():
    drawn = []
    for dtype in (torch.float32, torch.float64):
        with agreement.SameDraws():
            generator = torch.Generator().manual_seed(5)
            drawn.append(
                [
                    torch.rand(3, generator=generator, dtype=dtype),
                    torch.randn_like(torch.zeros(2, dtype=dtype)),
                    torch.randint(9, (4,), generator=generator, device="cpu"),
                ]
            )
    for first, second in zip(*drawn, strict=True):
        torch.testing.assert_close(first, second.to(first.dtype))


@pytest.fixture
def separation():
    """The runs of Figure 2 in the smoke suite under one loss: two of five seeds each."""
    return next(loop for loop in suite.loops(suite.SMOKE) if loop.name == "figure2 digits hinge")


def test_a_loop_is_timed_without_its_warm_up(separation, monkeypatch):
    def start(spec, progress, folder, device):
        progress.seeds_together = 3
        for step in progress.steps(7200, "sleep"):
            time.sleep(0.2 if step < suite.WARM_UP else 0.005)

    monkeypatch.setattr(suite, "start", start)
    pace = suite.measure(separation, CPU, 0.1)
    assert 0.005 <= pace.per_step < 0.1
    assert pace.hours == pytest.approx(2 * 2 * 2 * pace.per_step)


def test_a_loop_that_ends_early_is_an_error(separation, monkeypatch):
    monkeypatch.setattr(suite, "start", lambda spec, progress, folder, device: None)
    with pytest.raises(RuntimeError, match="figure2 digits hinge ended before"):
        suite.measure(separation, CPU, 0.1)


def test_the_loops_of_the_paper_cover_its_rows():
    loops = suite.loops(suite.PAPER)
    count = {
        name: sum(loop.experiment == name for loop in loops) for name in ("table1", "figure2", "figure3")
    }
    assert count == {"table1": 18, "figure2": 9, "figure3": 1}
    one_by_one = [loops_of(loop.runs, 1) for loop in loops if loop.experiment == "figure2"]
    assert sum(one_by_one) == 5 * 3 * (100 + 20 + 20)
