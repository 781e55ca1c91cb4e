import matplotlib
import pandas as pd
import pytest
import yaml
from made_up import as_reference, finish

from nls.reporting import blackbox, table1, table1_figures
from nls.reporting.overview import counted, overview
from nls.reporting.products import TABLES, Table, make_table, table_from_csv
from nls.reporting.runs import Evidence

matplotlib.use("Agg")


def evidence(folder):
    return Evidence("mini", folder)


def put(folder, where, experiment, name, spec, metrics=None, **files):
    """A run of the suite, finished if it has metrics, with its spec where the suite keeps it."""
    if metrics is not None:
        finish(folder / where / experiment / name, spec, metrics, **files)
    asked = folder / "mini" / "specs" / experiment / f"{name}.yaml"
    asked.parent.mkdir(parents=True, exist_ok=True)
    asked.write_text(yaml.safe_dump(spec))


def trained(folder, where, name, row, metrics, seed=0, attacks=None):
    accuracies = {"clean_accuracy": 0.99, "n": 100, "vanishing_gradient_share": {"pgd-xent": 0.0}}
    curves = {
        "eps_curve": {"eps": [0.0, 0.3], "pgd-xent": [0.99, 0.5], "pgd-margin": [0.99, 0.4]},
        "steps_curve": {"steps": [0.0, 40.0], "pgd-xent": [0.99, 0.5], "pgd-margin": [0.99, 0.4]},
    }
    history = (
        "epoch,learning_rate,loss,train_accuracy,train_robust_accuracy\n1,0.1,2,0.5,0.1\n2,0.1,1,0.9,0.6\n"
    )
    put(
        folder,
        where,
        "table1",
        name,
        {"row": row, "seed": seed, "attacks": attacks or {"eps": 0.3}},
        accuracies | curves | metrics,
        history_csv=history,
    )


@pytest.fixture
def mnist(tmp_path):
    row = {"dataset": "mnist", "network": "convnet4a-linear-head", "method": "ours", "eps_train": 0.4}
    trained(
        tmp_path,
        "mini",
        "ours",
        row,
        {
            "robust_accuracy": {"pgd-xent": 0.97, "pgd-margin": 0.9, "square": 0.94, "min": 0.88},
            "mean_over_starts": {"pgd-xent": 0.981, "pgd-margin": 0.925},
        },
    )
    trained(
        tmp_path,
        "reference/mini",
        "ours",
        row,
        {
            "robust_accuracy": {"pgd-xent": 0.9, "pgd-margin": 0.9, "square": 0.95, "min": 0.89},
            "mean_over_starts": {"pgd-xent": 0.91, "pgd-margin": 0.91},
        },
    )
    as_reference(tmp_path, "mini", "table1")
    return tmp_path


def test_paper_reference_and_here_stand_side_by_side(mnist):
    frame, notes = table1.table(evidence(mnist))
    # All MNIST rows of the paper, and none of CIFAR10, on which nothing was run.
    assert len(frame) == 6
    assert set(frame["dataset"]) == {"mnist"}
    ours = frame[frame["method"] == "ours"].iloc[0]
    assert ours["clean (paper)"] == 99.35
    assert ours["pgd-margin (paper)"] == 97.35
    assert ours["pgd-margin (reference)"] == 91.0
    assert ours["pgd-margin (here)"] == 92.5
    assert (ours["images (reference)"], ours["images (here)"]) == (100, 100)
    assert ours["min (here)"] == 88.0
    assert ours["masking (here)"] == "†"
    assert ours["masking (reference)"] == ""
    assert notes[0] == table1.FLAG
    assert notes[1] == (
        "mnist convnet4a-linear-head ours 0.4 (here, seed 0): square leaves 94.00%, less than pgd-xent with 97.00%"
    )
    # Others have attacked the network of this row; the paper's networks of the other methods are not public.
    assert ours["autoattack (independent)"] == 90.85
    assert frame["autoattack (independent)"].notna().sum() == 1
    assert "the public AutoAttack leaderboard" in notes[2]
    assert "not rows of the paper" in notes[2]
    madry = frame[(frame["method"] == "madry") & (frame["eps_train"] == 0.3)].iloc[0]
    assert madry["pgd-xent (paper)"] == 96.04
    assert madry.isna()["pgd-xent (here)"]


def test_the_paper_has_18_rows():
    assert len(table1.PAPER) == 18
    assert sum(key[2] == "ours" for key in table1.PAPER) == 3


def test_rows_that_the_paper_has_not_are_shown(tmp_path):
    row = {"dataset": "digits", "network": "convnet-small", "method": "mma", "eps_train": None}
    metrics = {"robust_accuracy": {"pgd-xent": 0.5, "min": 0.5}, "mean_over_starts": {"pgd-xent": 0.5}}
    trained(tmp_path, "mini", "mma", row, metrics)
    frame, notes = table1.table(evidence(tmp_path))
    assert list(frame["method"]) == ["mma"]
    assert "pgd-xent (paper)" not in frame
    assert notes == []


def test_what_settings_are_chosen_by_is_shown(tmp_path):
    row = {"dataset": "digits", "network": "convnet-small", "method": "madry"}
    metrics = {"robust_accuracy": {"pgd-xent": 0.5, "min": 0.5}, "mean_over_starts": {"pgd-xent": 0.5}}
    judged = {"held_out": {"accuracy": 0.9, "robust_accuracy": 0.625}}
    trained(tmp_path, "mini", "trial", row | {"eps_train": 0.1}, metrics | judged)
    trained(tmp_path, "mini", "older", row | {"eps_train": 0.2}, metrics)
    frame, notes = table1.table(evidence(tmp_path))
    shown = frame.set_index("eps_train")["held-out (here)"]
    assert shown[0.1] == 62.5
    assert pd.isna(shown[0.2])
    assert notes == [table1.HOW_HELD_OUT]


def test_a_trial_is_judged_by_held_out_images_alone(tmp_path):
    row = {"dataset": "digits", "network": "convnet-small", "method": "madry", "eps_train": 0.1}
    metrics = {"robust_accuracy": {"pgd-xent": 1.0, "min": 1.0}, "mean_over_starts": {"pgd-xent": 1.0}}
    vanishing = {"n": 1, "vanishing_gradient_share": {"pgd-xent": 1.0}}
    judged = {"held_out": {"accuracy": 0.9, "robust_accuracy": 0.625}}
    trained(tmp_path, "mini", "trial", row, metrics | vanishing | judged)
    frame, notes = table1.table(evidence(tmp_path))
    shown = frame.drop(columns=["dataset", "network", "method", "eps_train"]).iloc[0].to_dict()
    assert shown == {"held-out (here)": 62.5, "masking (here)": ""}
    assert notes == [table1.HOW_HELD_OUT]
    (axis,) = table1_figures.every_seed(evidence(tmp_path)).axes
    assert [text.get_text() for text in axis.texts] == [
        "missing: no complete run of Table 1 has what this figure shows"
    ]


def test_a_variant_is_a_row_of_its_own(tmp_path):
    row = {"dataset": "digits", "network": "convnet-small", "method": "ours-level", "eps_train": 0.1}
    metrics = {"robust_accuracy": {"pgd-xent": 0.5, "min": 0.5}, "mean_over_starts": {"pgd-xent": 0.5}}
    trained(tmp_path, "mini", "one", row, metrics)
    trained(tmp_path, "mini", "other", row | {"variant": "level1"}, metrics)
    frame, _ = table1.table(evidence(tmp_path))
    assert sorted(frame["method"]) == ["ours-level", "ours-level-level1"]


def black_box_runs(folder, transferred, seed="", models=("ours", "mnist-net-madry"), eps=0.3, where="mini"):
    models = [f"{model}{seed}" for model in models]
    for source in reversed(models):
        transfer = {"eps": eps, "steps": 40, "step_size": 0.01}
        group = {"dataset": "mnist", "network": "net", "models": models, "transfer": transfer}
        accuracy = {model: 0.1 if model == source else transferred for model in models}
        metrics = {"source": source, "n": 100, "accuracy": {"xent": accuracy, "margin": accuracy}}
        name = f"from-{source}-{eps}"
        put(folder, where, "blackbox", name, {"group": group, "source": source}, metrics)


@pytest.mark.parametrize(("transferred", "doubted"), [(0.85, True), (0.99, False)])
def test_transfer_below_a_white_box_figure_flags_the_target(mnist, transferred, doubted):
    black_box_runs(mnist, transferred)
    _, notes = table1.table(evidence(mnist))
    assert any("transfer leaves 85.00%, less than pgd-xent with 97.00%" in note for note in notes) == doubted


def test_black_box_tables_have_sources_in_rows(tmp_path):
    black_box_runs(tmp_path, 0.7)
    frame, notes = blackbox.table(evidence(tmp_path))
    assert list(frame["attack on"]) == ["xent", "xent", "margin", "margin"]
    assert list(frame["points of"]) == ["ours", "madry"] * 2
    madry = frame[(frame["points of"] == "madry") & (frame["attack on"] == "margin")].iloc[0]
    assert (madry["ours"], madry["madry"], madry["source"]) == (70, 10, "here")
    assert notes == [blackbox.NOTE]
    assert len(blackbox.figure(evidence(tmp_path)).axes) == 4


def test_transfer_within_another_radius_says_nothing_of_this_one(mnist):
    black_box_runs(mnist, 0.85, eps=0.5)
    assert not any("transfer" in note for note in table1.table(evidence(mnist))[1])


def test_every_group_of_the_same_networks_has_tables_of_its_own(tmp_path):
    """Other models, and the same ones within another radius: neither takes the other's place."""
    black_box_runs(tmp_path, 0.7)
    black_box_runs(tmp_path, 0.6, models=("standard", "mnist-net-trades"))
    black_box_runs(tmp_path, 0.5, eps=0.4)
    frame, _ = blackbox.table(evidence(tmp_path))
    assert len(frame) == 3 * 2 * 2
    for eps, sources, columns, transferred in (
        (0.3, ["ours", "madry"], ["madry", "ours"], 70),
        (0.3, ["standard", "trades"], ["trades", "standard"], 60),
        (0.4, ["ours", "madry"], ["madry", "ours"], 50),
    ):
        rows = frame[
            (frame["eps"] == eps) & frame["points of"].isin(sources) & (frame["attack on"] == "xent")
        ]
        assert list(rows["points of"]) == sources
        assert [row[column] for (_, row), column in zip(rows.iterrows(), columns, strict=True)] == [
            transferred
        ] * 2
    assert set(frame["images"]) == {100}
    assert len([axis for axis in blackbox.figure(evidence(tmp_path)).axes if axis.get_title()]) == 6


def test_black_box_tables_are_means_over_the_seeds_of_the_networks(tmp_path):
    for seed, transferred in (("", 0.7), ("-seed1", 0.8), ("-seed2", 0.75)):
        black_box_runs(tmp_path, transferred, seed)
    frame, _ = blackbox.table(evidence(tmp_path))
    assert list(frame["points of"]) == ["ours", "madry"] * 2
    assert [str(cell) for cell in frame["ours"][:2]] == ["10.00 ± 0.00", "75.00 ± 5.00"]
    blackbox.figure(evidence(tmp_path))


@pytest.mark.parametrize(
    "draw",
    [
        table1_figures.accuracy_against_eps,
        table1_figures.accuracy_against_steps,
        table1_figures.training_curves,
    ],
)
def test_figures_have_a_line_for_each_row_and_loss(mnist, draw):
    figure = draw(evidence(mnist))
    assert len(figure.axes) == 1
    assert len(figure.axes[0].lines) == 2
    assert [text.get_text() for text in figure.axes[0].get_legend().texts] == ["ours 0.4"]


def test_a_suite_without_complete_runs_says_what_is_missing(tmp_path):
    row = {"dataset": "mnist", "network": "convnet4a-linear-head", "method": "ours", "eps_train": 0.4}
    put(tmp_path, "mini", "table1", "ours", {"row": row, "seed": 0, "attacks": {"eps": 0.3}})
    frame, notes = table1.table(evidence(tmp_path))
    assert len(frame) == 0
    assert "missing: ours (not run" in notes[0]
    assert len(table1_figures.training_curves(evidence(tmp_path)).axes[0].texts) == 1
    assert len(table1_figures.every_seed(evidence(tmp_path)).axes[0].texts) == 1
    assert len(blackbox.table(evidence(tmp_path))[0]) == 0
    blackbox.figure(evidence(tmp_path))


@pytest.fixture
def seeded(tmp_path):
    """Three seeds of ours and of Madry's, and one of a method that the paper does not have."""
    values = {"ours": (0.60, 0.64, 0.65), "madry": (0.50, 0.55, 0.54), "mma": (0.7,)}
    for method, accuracies in values.items():
        eps = 0.3 if method == "madry" else 0.4
        row = {"dataset": "mnist", "network": "convnet4a-linear-head", "method": method, "eps_train": eps}
        for seed, accuracy in enumerate(accuracies):
            metrics = {
                "robust_accuracy": {"pgd-xent": accuracy, "pgd-margin": 0.5, "min": accuracy - 0.1},
                "mean_over_starts": {"pgd-xent": accuracy, "pgd-margin": 0.5},
            }
            trained(tmp_path, "mini", f"{method}-seed{seed}", row, metrics, seed)
    return tmp_path


def test_later_methods_of_ours_are_compared_but_prove_no_claim(seeded):
    row = {"dataset": "mnist", "network": "convnet4a-linear-head", "method": "ours-linf", "eps_train": 0.2}
    for seed in range(3):
        metrics = {"robust_accuracy": {"pgd-xent": 0.9, "min": 0.9}, "mean_over_starts": {"pgd-xent": 0.9}}
        trained(seeded, "mini", f"ours-linf-seed{seed}", row, metrics, seed)
    frame, _ = table1.differences(evidence(seeded))
    named = set(zip(frame["ours"], frame["other"], strict=True))
    assert {("ours-linf 0.2", other) for other in ("ours 0.4", "madry 0.3", "mma 0.4")} <= named
    assert ("ours 0.4", "ours-linf 0.2") not in named
    claims = [note for note in table1.table(evidence(seeded))[1] if note.startswith("claim: ")]
    assert len(claims) == 2
    assert not any("ours-linf" in claim for claim in claims)


def test_seeds_give_means_deviations_intervals_and_verdicts(seeded):
    frame, notes = table1.table(evidence(seeded))
    rows = frame[frame["clean (here)"].notna()].set_index("method")
    assert str(rows.loc["ours", "pgd-xent (here)"]) == "63.00 ± 2.65"
    assert rows.loc["mma", "pgd-xent (here)"] == 70.0
    assert dict(rows["seeds (here)"]) == {"madry": 3, "ours": 3, "mma": 1}
    # So that three seeds are 3, not 3.00, beside a row that was not run.
    assert frame["seeds (here)"].dtype == "Int64"
    claims = [note for note in notes if note.startswith("claim: ")]
    assert len(claims) == 2
    # 10, 9 and 11 points: 10 ± 4.303 · 1 / √3.
    assert claims[0].startswith(
        "claim: mnist, convnet4a-linear-head, ours 0.4 above madry 0.3, pgd-xent: reproduced "
        '(here: +10.00 points, +7.52 to +12.48, 3 seeds); the paper has +3.19. Section 5.2: "superior'
    )
    assert "ours 0.4 above madry 0.3, pgd-margin: undecided (here: 0.00 points" in claims[1]

    differences, told = table1.differences(evidence(seeded))
    assert told == [note for note in notes if note.startswith("Differences")]
    line = differences[(differences["other"] == "madry 0.3") & (differences["measure"] == "pgd-xent")].iloc[0]
    assert (line["difference (here)"], line["95% low (here)"], line["95% high (here)"]) == (10.0, 7.52, 12.48)
    assert (line["pairs (here)"], line["claim"], line["verdict (here)"]) == (3, "ours above", "reproduced")
    single = differences[(differences["other"] == "mma 0.4") & (differences["measure"] == "min")].iloc[0]
    assert (single["difference (here)"], single["pairs (here)"]) == (-10.0, 1)
    assert single.isna()[["95% low (here)", "claim", "verdict (here)"]].all()


def test_curves_have_one_line_a_row_and_a_band_over_seeds(seeded):
    axis = table1_figures.accuracy_against_eps(evidence(seeded)).axes[0]
    assert len(axis.lines) == 3 * 2
    assert len(axis.collections) == 2 * 2


def test_every_seed_has_its_points_and_the_best_mean_minimum_stands_on_top(seeded):
    (axis,) = table1_figures.every_seed(evidence(seeded)).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["madry 0.3", "ours 0.4", "mma 0.4"]
    minima = {
        (float(line.get_xdata()[0]), round(float(line.get_ydata()[0])))
        for line in axis.lines
        if line.get_label() == "under all attacks"
    }
    assert minima == {(40, 0), (45, 0), (44, 0), (50, 1), (54, 1), (55, 1), (60, 2)}
    # The first seed on top.
    heights = [line.get_ydata()[0] for line in axis.lines if line.get_label() == "clean"]
    assert heights[0] > heights[1] > heights[2]


def test_one_doubtful_seed_marks_its_row(mnist):
    (axis,) = table1_figures.every_seed(evidence(mnist)).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["ours 0.4 †"]


def test_no_claim_is_judged_by_rows_or_attacks_that_the_paper_does_not_have(tmp_path):
    def claims_of(dataset, eps_of_madry, eps_of_attack):
        folder = tmp_path / f"{dataset}-{eps_of_madry}-{eps_of_attack}"
        for method, eps, accuracy in (("ours", 0.4, 0.9), ("madry", eps_of_madry, 0.8)):
            row = {"dataset": dataset, "network": "convnet4a-linear-head", "method": method, "eps_train": eps}
            metrics = {
                "robust_accuracy": {"pgd-xent": accuracy, "min": accuracy},
                "mean_over_starts": {"pgd-xent": accuracy},
            }
            trained(folder, "mini", method, row, metrics, attacks={"eps": eps_of_attack})
        made = {name: TABLES[name].make(evidence(folder)) for name in ("table1", "table1-differences")}
        texts = {name: table_from_csv(Table(name, "mini", *one).csv()) for name, one in made.items()}
        figures, _ = overview(evidence(folder), texts)
        return [note for note in made["table1"][1] if note.startswith("claim: ")], set(figures["agrees"])

    claims, agrees = claims_of("mnist", 0.3, 0.3)
    assert len(claims) == 1
    assert agrees == {"agrees", "differs", "undecided"}
    assert claims_of("mnist", 0.3, 0.1) == ([], {"other attack"})
    assert claims_of("mnist", 0.36, 0.3)[0] == []
    assert claims_of("digits", 0.3, 0.3) == ([], set())
    found = pd.DataFrame({"agrees": ["other data", "agrees", "agrees", "other attack"]})
    assert counted(found) == (
        "Of 4 figures and claims of the paper: 2 agrees, 1 on other data, 1 under another attack."
    )


@pytest.mark.parametrize(("where", "mark"), [("mini", " †"), ("reference/mini", "")])
def test_transfer_between_other_networks_puts_no_row_in_doubt(tmp_path, where, mark):
    row = {"dataset": "digits", "network": "convnet-small", "method": "ours", "eps_train": 0.2}
    metrics = {"robust_accuracy": {"pgd-xent": 0.97, "min": 0.9}, "mean_over_starts": {"pgd-xent": 0.97}}
    trained(tmp_path, "mini", "ours", row, metrics)
    black_box_runs(tmp_path, 0.85, where=where)
    if where != "mini":
        as_reference(tmp_path, "mini", "blackbox")
    (axis,) = table1_figures.every_seed(evidence(tmp_path)).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == [f"ours 0.2{mark}"]


def test_a_method_of_the_users_stands_in_figures_without_its_file(tmp_path):
    row = {"dataset": "digits", "network": "convnet-small", "method": "mine/own.py:Mine", "eps_train": 0.2}
    metrics = {"robust_accuracy": {"pgd-xent": 0.5, "min": 0.5}, "mean_over_starts": {"pgd-xent": 0.5}}
    trained(tmp_path, "mini", "mine", row, metrics)
    (axis,) = table1_figures.every_seed(evidence(tmp_path)).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["Mine 0.2"]


@pytest.mark.parametrize(("images", "points"), [(200, 0), (1, 2)])
def test_a_suite_without_curves_has_no_panel_of_them(tmp_path, images, points):
    row = {"dataset": "digits", "network": "convnet-small", "method": "madry", "eps_train": 0.2}
    curve = {name: [0.5] * points for name in ("eps", "pgd-xent", "pgd-margin")}
    metrics = {"robust_accuracy": {"pgd-xent": 0.5, "min": 0.5}, "mean_over_starts": {"pgd-xent": 0.5}}
    attacks = {"eps": 0.3, "curve_images": images}
    trained(tmp_path, "mini", "madry", row, metrics | {"eps_curve": curve}, attacks=attacks)
    (axis,) = table1_figures.accuracy_against_eps(evidence(tmp_path)).axes
    assert not axis.lines
    assert [text.get_text() for text in axis.texts] == [
        "missing: no complete run of Table 1 has what this figure shows"
    ]


def test_rows_beyond_the_colours_of_the_house_have_marks(tmp_path):
    metrics = {"robust_accuracy": {"pgd-xent": 0.5, "min": 0.5}, "mean_over_starts": {"pgd-xent": 0.5}}
    for number in range(9):
        row = {"dataset": "digits", "network": "convnet-small", "method": f"own{number}", "eps_train": 0.2}
        trained(tmp_path, "mini", f"own{number}", row, metrics)
    (axis,) = table1_figures.accuracy_against_eps(evidence(tmp_path)).axes
    assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axis.lines}) == 9 * 2


def test_every_form_of_the_table_carries_deviations_and_verdicts(seeded, monkeypatch):
    monkeypatch.chdir(seeded.parent)
    monkeypatch.setattr("nls.reporting.products.Evidence", lambda suite: evidence(seeded))
    monkeypatch.setattr("nls.reporting.products.REPORTS", seeded / "reports")
    for name in ("table1", "table1-differences"):
        table = make_table(name, "mini")
        csv, markdown, latex = (path.read_text() for path in table.write())
        for width in (60, 100, 200):
            text = table.text(width)
            assert max(map(len, text.splitlines())) <= width
        if name == "table1":
            frame = pd.read_csv(seeded / "reports/mini/table1.csv")
            frame = frame[frame["clean (here)"].notna()].set_index("method")
            assert frame.loc["ours", "pgd-xent (here)"] == 63.0
            assert frame.loc["ours", "pgd-xent (here) std"] == pytest.approx(2.6458, abs=1e-4)
            assert pd.isna(frame.loc["mma", "pgd-xent (here) std"])
            assert "63.00 ± 2.65" in markdown
            assert r"63.00 $\pm$ 2.65" in latex
            assert "63.00 ± 2.65" in text
        else:
            assert "reproduced" in csv
            assert "& reproduced" in latex
        for form in (markdown, latex, text.replace("\n  ", " ")) if name == "table1" else ():
            assert (
                "claim: mnist, convnet4a-linear-head, ours 0.4 above madry 0.3, pgd-xent: reproduced" in form
            )
