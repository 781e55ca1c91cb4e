"""What a suite's config asks of a scheduler."""

import re

import pytest

from nls.errors import UserError
from nls.experiments import load_suite, require_files
from nls.experiments.common import Resources


def test_a_repeated_job_asks_for_more_up_to_what_partitions_allow():
    asked = Resources(mem_mb=2000, runtime=30)
    assert [asked.memory_of(attempt) for attempt in (1, 2, 3)] == [2000, 4000, 6000]
    assert [asked.runtime_of(attempt, longest=50) for attempt in (1, 2, 3)] == [30, 50, 50]
    assert asked.runtime_of(1, longest=20) == 30


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"#\n"])
def test_a_spec_that_is_damaged_on_the_disk_is_written_again(tmp_path, monkeypatch, damage):
    monkeypatch.chdir(tmp_path)
    suite = load_suite({"suite": "s", "experiments": {"figure1": {}}}, "a test")
    suite.write_specs()
    path = tmp_path / "results/s/specs/figure1/linf.yaml"
    whole = path.read_bytes()
    assert suite.has_written("figure1", path.stem)
    path.write_bytes(damage + whole)
    assert not suite.has_written("figure1", path.stem)
    suite.write_specs()
    assert path.read_bytes() == whole


PLAN = {"eps": 0.1, "attacks": ["pgd-xent"], "steps": 1, "step_size": 0.1}
ROW = {"dataset": "digits", "network": "convnet-small", "training": {"epochs": 1, "learning_rate": 0.001}}
LOSSES = {"fractions": [0.1], "seeds": 1, "losses": {"hinge": {}}}
OWN = {
    "table1": (
        {
            "rows": [ROW | {"method": "standard"}, ROW | {"method": "mine.py:Mine"}],
            "attacks": {"digits": PLAN},
        },
        "experiments.table1.rows.1.method: there is no file mine.py;",
    ),
    "figure2": (
        {"datasets": {"mine.npz": LOSSES}},
        "experiments.figure2.datasets.mine.npz: there is no file mine.npz;",
    ),
    "table2": (
        {"methods": {"hull": {"method": "mine.py:Hull"}}},
        "experiments.table2.methods.hull.method: there is no file mine.py;",
    ),
}


@pytest.mark.parametrize("experiment", OWN)
def test_a_file_of_ones_own_that_is_not_there_is_told_with_its_key(tmp_path, monkeypatch, experiment):
    monkeypatch.chdir(tmp_path)
    config, told = OWN[experiment]
    suite = load_suite({"suite": "s", "experiments": {experiment: config}}, "my.yaml")
    with pytest.raises(
        UserError, match=rf"^my\.yaml: {re.escape(told)} name one relative to this directory$"
    ):
        require_files(suite, "my.yaml")
    for name in ("mine.py", "mine.npz"):
        (tmp_path / name).touch()
    require_files(suite, "my.yaml")


def test_what_other_runs_leave_need_not_be_there_yet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [ROW | {"method": "standard"}, ROW | {"method": "hat", "helper": "digits-convnet-small-standard"}]
    rows[1]["settings"] = {"eps": 0.1}
    config = {"rows": rows, "attacks": {"digits": PLAN}}
    require_files(load_suite({"suite": "s", "experiments": {"table1": config}}, "my.yaml"), "my.yaml")
