"""The page of what is reproduced: made from the reference in git, with a reason for every row that differs."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from nls.errors import UserError
from nls.reporting import reproduction, table1_figures, universality
from nls.reporting.runs import RESULTS, Evidence

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def page():
    return (ROOT / reproduction.PAGE).read_text(encoding="utf-8")


def test_the_page_holds_what_the_reference_holds(page):
    assert reproduction.filled(page, ROOT / RESULTS) == page, "run make reproduction"


def test_a_row_that_differs_needs_an_explanation(page):
    with pytest.raises(
        UserError, match="write a heading ### mini: Table 1: mnist convnet4a-linear-head madry"
    ):
        reproduction.filled(page.replace("### mini\n", ""), ROOT / RESULTS)


def test_a_page_without_its_blocks_is_refused(page):
    with pytest.raises(UserError, match="has no block <!-- begin: sources -->"):
        reproduction.filled(page.replace("<!-- begin: sources -->", ""), ROOT / RESULTS)


def test_without_a_reference_every_row_of_the_paper_was_not_run(tmp_path):
    assert len(reproduction.not_run(tmp_path)) == 18 + 4
    assert reproduction.agreement(tmp_path).empty
    assert not list(tmp_path.iterdir())


def test_virtual_bodies_are_not_the_scans_of_the_paper(tmp_path):
    kept = tmp_path / "reference/paper/table2.csv"
    kept.parent.mkdir(parents=True)
    shutil.copy(ROOT / RESULTS / "reference/bodies/table2.csv", kept)
    assert len(reproduction.not_run(tmp_path)) == 18 + 4


def test_what_was_not_run_has_its_cost_by_the_later_measurement():
    rows = reproduction.not_run(ROOT / RESULTS).set_index("row")["minutes on an H200"]
    # 50,000 steps for each of ten scans: 0.0667 s a step, where the first measurement had 1.31 s.
    assert rows["Table 2: FAUST, levelset-paper"] == f"{10 * 50_000 * 0.0667336769 / 60:.0f}"
    assert rows["Table 1: mnist convnet4a-linear-head madry 0.3"] == "24"
    assert all(rows)


def test_what_is_kept_of_theorem_1_and_table_1_can_be_shown_without_runs():
    frame, _ = universality.table(Evidence("paper", ROOT / RESULTS))
    assert len(frame) == 15
    assert set(frame["source"]) == {"reference"}
    assert frame["faces"].is_monotonic_increasing
    assert frame["seconds to build"].isna().all()
    (axis,) = table1_figures.accuracy_against_eps(Evidence("workstation", ROOT / RESULTS)).axes
    assert axis.get_title() == "mnist, convnet4a-linear-head, reference"
    assert "ours-linf 0.3" in [text.get_text() for text in axis.get_legend().get_texts()]


def test_the_gains_of_figure_2_pair_the_seeds_of_all_runs():
    frame = reproduction.few_images(ROOT / RESULTS)
    row = frame[(frame["suite"] == "few_images") & (frame["images"] == "60")].iloc[0]
    accuracies = {"geometric_svm": {}, "hinge": {}}
    for record in Evidence("few_images", ROOT / RESULTS).reference("figure2"):
        if record.metrics["training_images"] == 60 and record.spec["name"] in accuracies:
            pairs = zip(record.metrics["seeds"], record.metrics["accuracy"], strict=True)
            accuracies[record.spec["name"]] |= dict(pairs)
    ours, hinge = (100 * np.array([each[seed] for seed in range(20)]) for each in accuracies.values())
    low, high = stats.t.interval(0.95, 19, (ours - hinge).mean(), stats.sem(ours - hinge))
    assert row["minus hinge"] == f"{(ours - hinge).mean():.2f} ({low:.2f} to {high:.2f})"
    assert row["geometric SVM"] == f"{ours.mean():.1f} ± {ours.std(ddof=1):.1f} ({ours.min():.1f})"
