"""Numbers in cells: equal places down a column, and nothing small lost; signs that are the same everywhere."""

import pandas as pd
import pytest

from nls.reporting.cells import column_texts, is_number, signed
from nls.reporting.products import Table, deviations_joined, table_from_csv
from nls.reporting.statistics import Spread


@pytest.mark.parametrize(
    ("cells", "texts"),
    [
        ([0.5, 1.0, 0.0], ["0.50", "1.00", "0.00"]),
        ([131.638, 26.9], ["131.64", "26.90"]),
        ([0.31, 0.3, -0.05], ["0.31", "0.30", "-0.05"]),
        ([0.3, 0.4], ["0.3", "0.4"]),
        ([1.595, 0.39, 0.352], ["1.595", "0.390", "0.352"]),
        ([1.2e-05, 1.0, 0.5], ["1.2e-05", "1.00", "0.50"]),
        ([-0.00017], ["-0.00017"]),
        ([Spread(5.0, 0.25), 0.5, ""], ["5.00 ± 0.25", "0.50", ""]),
        (["†", 3, "", 0.5], ["†", "3", "", "0.5"]),
        ([], []),
    ],
)
def test_the_numbers_of_a_column_have_equal_places_and_small_ones_stay(cells, texts):
    assert column_texts(cells) == texts


@pytest.mark.parametrize(
    ("value", "text"), [(-0.001, "0.00"), (0.0, "0.00"), (0.004, "0.00"), (-1.5, "−1.50"), (2.345, "+2.35")]
)
def test_a_difference_has_its_sign_and_none_that_rounds_to_0(value, text):
    assert signed(value) == text


def test_what_begins_with_a_number_stands_to_the_right():
    assert all(map(is_number, ("", "1", "−3.25", "-24% ↓", "+0.5", "95.00 ± 0.10")))
    assert not any(map(is_number, ("†", "-", "x1", "levelset")))


def test_deviations_stand_apart_in_csv_and_come_together_again():
    frame = pd.DataFrame(
        {"method": ["a", "b", "c"], "clean": [Spread(98.4, 0.125), 9.5, None], "n": [1, 2, 3]}
    )
    table = table_from_csv(Table("t", "s", frame, []).csv())
    assert table.columns.tolist() == ["method", "clean", "clean std", "n"]
    assert table["clean std"].tolist() == ["0.125", "", ""]
    joined = deviations_joined(table)
    assert joined.columns.tolist() == ["method", "clean", "n"]
    assert joined["clean"].tolist() == ["98.40 ± 0.12", "9.50", ""]
    assert joined["n"].tolist() == ["1", "2", "3"]
