from pathlib import Path

import yaml

from nls.experiments import RECIPES, load_suite
from nls.reporting.products import FIGURES, TABLES, experiment_of, make_table, write_figure
from nls.reporting.report import write_report


def test_a_suite_without_a_complete_run_has_a_report_that_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load((Path(__file__).parents[2] / "config/smoke.yaml").read_text())
    config["experiments"] = {name: config["experiments"][name] for name in ("figure1", "figure2")}
    load_suite(config, "smoke.yaml").write_specs()
    make_table("figure2", "smoke").write()
    for name in ("figure1", "figure2"):
        write_figure(name, "smoke")
    page = write_report("smoke").read_text()
    assert "No run is complete." in page
    assert "0 of 6" in page
    assert "digits-0.1-hinge-seeds000-004: not run" in page


def test_every_product_is_named_after_an_experiment():
    assert {experiment_of(name) for name in (*TABLES, *FIGURES)} <= set(RECIPES)
    of_many_words = ("table2-time", "table2-scans", "figure3-bodies", "figure3", "hard_inputs")
    assert list(map(experiment_of, of_many_words)) == [
        "table2-time", "table2", "figure3", "figure3", "hard_inputs",
    ]  # fmt: skip
