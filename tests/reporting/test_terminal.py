import pandas as pd

from nls.reporting.terminal import terminal_text

FRAME = pd.DataFrame(
    {
        "dataset": ["digits", "digits"],
        "method": ["standard", "ours"],
        "ε": ["", "0.3"],
        "clean (paper)": ["", "99.35"],
        "clean (here)": ["97.00 ± 0.50", "96.00 ± 1.25"],
        "min (here)": ["0.00 ± 0.00", "60.12 ± 3.00"],
    }
)


def test_a_wide_table_goes_on_below_with_the_names_of_its_rows():
    assert terminal_text(FRAME, ["a note that is longer than the line"], 36).splitlines() == [
        "dataset: digits",
        "",
        "method      ε  clean         clean",
        "               paper          here",
        "────────  ───  ─────  ────────────",
        "standard              97.00 ± 0.50",
        "ours      0.3  99.35  96.00 ± 1.25",
        "",
        "method      ε           min",
        "                       here",
        "────────  ───  ────────────",
        "standard        0.00 ± 0.00",
        "ours      0.3  60.12 ± 3.00",
        "",
        "- a note that is longer than the",
        "  line",
    ]


def test_rows_whose_names_leave_no_room_are_shared_out_by_the_first_name():
    frame = FRAME.assign(dataset=["digits", "mnist"])
    frame = pd.concat([frame, frame], ignore_index=True)
    assert terminal_text(frame.drop(columns=["clean (paper)"]), [], 32).splitlines() == [
        "dataset: digits",
        "method: standard",
        "clean (here): 97.00 ± 0.50",
        "min (here): 0.00 ± 0.00",
        "",
        "dataset: mnist",
        "method: ours",
        "ε: 0.3",
        "clean (here): 96.00 ± 1.25",
        "min (here): 60.12 ± 3.00",
    ]


def test_every_block_says_which_row_it_is_about():
    rows = [
        (data, method, eps)
        for data in ("digits", "mnist")
        for method in ("madry", "ours")
        for eps in ("1", "2")
    ]
    frame = pd.DataFrame(rows, columns=["dataset", "method", "ε"])
    for number in range(4):
        frame[f"figure {number} (here)"] = [f"{number}.{row}" for row in range(len(rows))]
    blocks = terminal_text(frame, [], 26).split("\n\n")
    assert [block for block in blocks if block.startswith("dataset")] == ["dataset: digits", "dataset: mnist"]
    tables = [block.splitlines() for block in blocks if not block.startswith("dataset")]
    assert len(tables) > 2
    for head, _, _, *lines in tables:
        assert head.split()[:2] == ["method", "ε"]
        assert [line.split()[:2] for line in lines] == [list(row[1:]) for row in rows[:4]]


def test_wide_letters_take_two_columns():
    lines = terminal_text(pd.DataFrame({"name": ["東京", "é"], "x": ["1", "22"]}), [], 80).splitlines()
    assert lines == ["name   x", "────  ──", "東京   1", "é     22"]


def test_a_table_that_fits_is_one_block():
    assert len(terminal_text(FRAME, [], 80).splitlines()) == 2 + 3 + 2


def test_an_empty_table_says_so():
    assert terminal_text(pd.DataFrame(), ["missing: a"], 80) == "No run is complete.\n\n- missing: a"
