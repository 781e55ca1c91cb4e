"""Statistics over seeds, against scipy's own paired t test, and what follows from them for a claim."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nls.reporting.claims import TABLE1, TABLE2, find_claim
from nls.reporting.independent import ROWS
from nls.reporting.statistics import Difference, Spread, paired_difference, spread, verdict, with_whole_counts
from nls.reporting.table1 import PAPER as PAPER1
from nls.reporting.table2 import PAPER as PAPER2


def test_counts_beside_empty_cells_stay_whole():
    frame = pd.DataFrame({"seeds (here)": [3, None], "clean (here)": [0.5, None]})
    assert with_whole_counts(frame, "seeds (").to_csv(index=False).splitlines()[1] == "3,0.5"


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=20))
def test_the_interval_is_that_of_the_paired_t_test(pairs):
    ours, other = ({seed: pair[side] for seed, pair in enumerate(pairs)} for side in (0, 1))
    found = paired_difference(ours, other, factor=100)
    values = 100 * np.array(pairs)
    difference = values[:, 0] - values[:, 1]
    assert found.pairs == len(pairs)
    assert found.mean == pytest.approx(difference.mean(), abs=1e-9)
    if difference.std() > 1e-6:
        expected = stats.ttest_rel(values[:, 0], values[:, 1]).confidence_interval(0.95)
        assert found.interval == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-9)


def test_only_common_seeds_are_paired_whatever_their_order():
    found = paired_difference({2: 5.0, 0: 1.0, 7: 100.0}, {0: 0.0, 2: 3.0, 1: -100.0})
    assert (found.mean, found.pairs) == (1.5, 2)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    one = paired_difference({0: 1.0}, {0: 0.5})
    assert (one.mean, one.interval, one.pairs) == (0.5, None, 1)


def test_one_value_has_no_deviation():
    assert spread([3.0]) == 3.0
    assert spread([1.0, 3.0]) == Spread(2.0, pytest.approx(2**0.5))
    assert str(spread([96.0, 96.5, 97.0])) == "96.50 ± 0.50"


@pytest.mark.parametrize(
    ("relation", "interval", "expected"),
    [
        ("above", (0.1, 2.0), "reproduced"),
        ("above", (-0.1, 2.0), "undecided"),
        ("above", (-2.0, -0.1), "not reproduced"),
        ("below", (-2.0, -0.1), "reproduced"),
        ("below", (0.1, 2.0), "not reproduced"),
        ("below", (-1.0, 1.0), "undecided"),
        ("comparable to", (-1.4, 1.4), "reproduced"),
        ("comparable to", (-1.6, 1.0), "undecided"),
        ("comparable to", (1.6, 3.0), "not reproduced"),
        ("comparable to", (-9.0, -1.6), "not reproduced"),
        ("above", (0.0, 0.0), "undecided"),
    ],
)
def test_a_verdict_needs_the_whole_interval(relation, interval, expected):
    assert verdict(relation, Difference(sum(interval) / 2, *interval, 3), tolerance=1.5) == expected


def test_one_seed_decides_nothing():
    assert verdict("above", Difference(50.0, None, None, 1)) == "undecided"
    assert verdict("above", None) == "undecided"


def test_the_claims_are_what_the_papers_tables_show():
    """Each claim about a row of Table 1 or 2 agrees with the figures that the paper prints there."""
    columns = {"pgd-xent": 1, "pgd-margin": 2}
    seen = 0
    for (dataset, network, method, eps), figures in PAPER1.items():
        for claim in TABLE1[dataset, network]:
            if method in claim.rivals:
                ours = next(PAPER1[key] for key in PAPER1 if key[:3] == (dataset, network, "ours"))
                gap = ours[columns[claim.measure]] - figures[columns[claim.measure]]
                exact = Difference(gap, gap, gap, 2)
                assert claim.verdict(exact) == "reproduced", (dataset, network, method, eps, claim)
                seen += 1
    assert seen == 3 * 4 * 2
    for claim in TABLE2:
        for rival in claim.rivals:
            column = ("Chamfer L1", "Chamfer L2").index(claim.measure)
            gap = PAPER2["levelset-paper"][column][0] - PAPER2[rival][column][0]
            assert claim.verdict(Difference(gap, gap, gap, 2)) == "reproduced"
    assert set(TABLE1) == {key[:2] for key in PAPER1}
    assert all(find_claim(claims, "pgd-xent", "mma") is None for claims in TABLE1.values())


def test_independent_figures_stand_only_beside_the_paper_s_own_networks():
    for key, evaluation in ROWS.items():
        clean, _, margin = PAPER1[key]
        assert (evaluation.clean, evaluation.reported) == (clean, margin)
