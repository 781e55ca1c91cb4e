import json

import matplotlib
import pytest
import yaml

from nls.reporting import blackbox, table1

matplotlib.use("Agg")


def run_directory(folder, name, row, metrics):
    directory = folder / name
    directory.mkdir(parents=True)
    (directory / "spec.yaml").write_text(yaml.safe_dump({"row": row}))
    accuracies = {"clean_accuracy": 0.99, "n": 100, "vanishing_gradient_share": {"pgd-xent": 0.0}}
    curves = {
        "eps_curve": {"eps": [0.0, 0.3], "pgd-xent": [0.99, 0.5], "pgd-margin": [0.99, 0.4]},
        "steps_curve": {"steps": [0.0, 40.0], "pgd-xent": [0.99, 0.5], "pgd-margin": [0.99, 0.4]},
    }
    (directory / "metrics.json").write_text(json.dumps(accuracies | curves | metrics))
    (directory / "history.csv").write_text(
        "epoch,learning_rate,loss,train_accuracy,train_robust_accuracy\n1,0.1,2,0.5,0.1\n2,0.1,1,0.9,0.6\n"
    )
    return directory


@pytest.fixture
def mnist(tmp_path):
    row = {"dataset": "mnist", "network": "convnet4a-linear-head", "method": "ours", "eps_train": 0.4}
    here = run_directory(
        tmp_path,
        "ours",
        row,
        {
            "robust_accuracy": {"pgd-xent": 0.97, "pgd-margin": 0.9, "square": 0.94, "min": 0.88},
            "mean_over_starts": {"pgd-xent": 0.981, "pgd-margin": 0.925},
        },
    )
    reference = run_directory(
        tmp_path / "reference",
        "ours",
        row,
        {
            "robust_accuracy": {"pgd-xent": 0.9, "pgd-margin": 0.9, "square": 0.95, "min": 0.89},
            "mean_over_starts": {"pgd-xent": 0.91, "pgd-margin": 0.91},
        },
    )
    return here, reference


def test_paper_reference_and_here_stand_side_by_side(mnist):
    here, reference = mnist
    frame, notes = table1.table([here], [reference])
    # All MNIST rows of the paper, and none of CIFAR10, on which nothing was run.
    assert len(frame) == 6
    assert set(frame["dataset"]) == {"mnist"}
    ours = frame[frame["method"] == "ours"].iloc[0]
    assert ours["clean (paper)"] == 99.35
    assert ours["pgd-margin (paper)"] == 97.35
    assert ours["pgd-margin (reference)"] == 91.0
    assert ours["pgd-margin (here)"] == 92.5
    assert ours["min (here)"] == 88.0
    assert ours["masking (here)"] == "†"
    assert ours["masking (reference)"] == ""
    assert notes[0] == table1.FLAG
    assert notes[1:] == [
        "mnist convnet4a-linear-head ours 0.4 (here): square leaves 94.00%, less than pgd-xent with 97.00%"
    ]
    madry = frame[(frame["method"] == "madry") & (frame["eps_train"] == 0.3)].iloc[0]
    assert madry["pgd-xent (paper)"] == 96.04
    assert madry.isna()["pgd-xent (here)"]


def test_the_paper_has_18_rows():
    assert len(table1.PAPER) == 18
    assert sum(key[2] == "ours" for key in table1.PAPER) == 3


def test_rows_that_the_paper_has_not_are_shown(tmp_path):
    row = {"dataset": "digits", "network": "convnet-small", "method": "mma", "eps_train": None}
    metrics = {"robust_accuracy": {"pgd-xent": 0.5, "min": 0.5}, "mean_over_starts": {"pgd-xent": 0.5}}
    frame, notes = table1.table([run_directory(tmp_path, "mma", row, metrics)])
    assert list(frame["method"]) == ["mma"]
    assert "pgd-xent (paper)" not in frame
    assert notes == []


def test_transfer_below_a_white_box_figure_flags_the_target(mnist, tmp_path):
    here, _ = mnist
    black_box = black_box_runs(tmp_path, 0.85)
    _, notes = table1.table([here], black_box=black_box)
    assert any("transfer leaves 85.00%, less than pgd-xent with 97.00%" in note for note in notes)
    assert not any(
        "transfer" in note for note in table1.table([here], black_box=black_box_runs(tmp_path / "b", 0.99))[1]
    )


def black_box_runs(folder, transferred):
    models = ["ours", "mnist-net-madry"]
    directories = []
    for source in models:
        directory = folder / "blackbox" / f"from-{source}"
        directory.mkdir(parents=True)
        group = {"dataset": "mnist", "network": "net", "models": models}
        (directory / "spec.yaml").write_text(yaml.safe_dump({"group": group, "source": source}))
        accuracy = {model: 0.1 if model == source else transferred for model in models}
        metrics = {"source": source, "n": 100, "accuracy": {"xent": accuracy, "margin": accuracy}}
        (directory / "metrics.json").write_text(json.dumps(metrics))
        directories.append(directory)
    return directories


def test_black_box_tables_have_sources_in_rows(tmp_path):
    frames = blackbox.tables(list(reversed(black_box_runs(tmp_path, 0.7))))
    assert list(frames) == ["mnist, net, xent", "mnist, net, margin"]
    frame = frames["mnist, net, xent"]
    assert list(frame.index) == list(frame.columns) == ["ours", "madry"]
    assert frame.loc["madry", "ours"] == 70
    assert frame.loc["madry", "madry"] == 10
    assert len(blackbox.heat_map(frames).axes) == 4


def test_figures_have_a_line_for_each_row_and_loss(mnist):
    here, reference = mnist
    for draw in (table1.accuracy_against_eps, table1.accuracy_against_steps, table1.training_curves):
        figure = draw([here, reference])
        assert len(figure.axes) == 1
        assert len(figure.axes[0].lines) == 4
        assert [text.get_text() for text in figure.axes[0].get_legend().texts] == ["ours 0.4", "ours 0.4"]
