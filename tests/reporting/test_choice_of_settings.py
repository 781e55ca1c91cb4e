"""Settings are those that held-out images chose, with equal effort: of Figure 2, and of the digits in beyond."""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import yaml

from nls.experiments import load_suite
from nls.reporting import table1
from nls.reporting.runs import Evidence

ROOT = Path(__file__).parents[2]
BEYOND = (ROOT / "docs/beyond.md").read_text()
LOSSES = ("cross_entropy", "hinge", "geometric_svm")


def specs(name, experiment="figure2"):
    config = ROOT / "config" / f"{name}.yaml"
    return load_suite(yaml.safe_load(config.read_text()), str(config)).specs[experiment]


def settings(spec):
    """Steps, learning rate and λ of a spec."""
    weight = spec["loss_settings"].get("regularization", 0.0)
    return spec["training"]["steps"], spec["training"]["learning_rate"], weight


def asked_by(suite, dataset, loss):
    found = {
        settings(spec.model_dump()) for spec in specs(suite) if (spec.dataset, spec.loss) == (dataset, loss)
    }
    assert len(found) == 1, "all fractions have the settings of their loss"
    return found.pop()


def trials(dataset, loss):
    """Return settings → fraction → held-out accuracy of each seed, from the reference."""
    found = defaultdict(dict)
    for record in Evidence("lambda", ROOT / "results").reference("figure2"):
        spec = record.spec
        assert spec["evaluate_on"] == "validation"
        if (spec["dataset"], spec["loss"]) == (dataset, loss):
            found[settings(spec)][spec["fraction"]] = np.array(record.metrics["accuracy"])
    return found


def chosen(found):
    """The rule of docs/few_images.md: within one standard error of the best, fewest steps, then the smallest λ."""
    over_fractions = {key: np.mean(list(each.values()), axis=0) for key, each in found.items()}
    mean = {key: values.mean() for key, values in over_fractions.items()}
    best = max(mean, key=mean.__getitem__)
    error = over_fractions[best].std(ddof=1) / np.sqrt(len(over_fractions[best]))
    near = [key for key in mean if mean[key] >= mean[best] - error]
    return min(near, key=lambda key: (key[0], key[2], -mean[key]))


def test_every_loss_has_as_many_trials_on_every_dataset():
    found = defaultdict(set)
    for spec in specs("lambda"):
        assert spec.evaluate_on == "validation", "test images choose nothing"
        found[spec.dataset, spec.loss].add((*settings(spec.model_dump()), spec.fraction, tuple(spec.seeds)))
    assert {loss for _, loss in found} == set(LOSSES)
    assert {dataset for dataset, _ in found} == {spec.dataset for spec in specs("paper")}
    assert {len(each) for each in found.values()} == {16}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("suite", "dataset"),
    [("paper", "mnist"), ("paper", "fashion_mnist"), ("paper", "cifar10"), ("few_images", "mnist")],
)
def test_a_suite_has_the_settings_that_were_chosen(suite, dataset, loss):
    found = trials(dataset, loss)
    assert len(found) == 8
    assert {len(each) for each in found.values()} == {2}, "both fractions of every trial are kept"
    assert asked_by(suite, dataset, loss) == chosen(found)
    each = found[asked_by(suite, dataset, loss)]
    means = [
        f"{100 * each[fraction].mean():.1f} ± {100 * each[fraction].std(ddof=1):.1f}"
        for fraction in sorted(each)
    ]
    assert f"| {' | '.join(means)} |" in (ROOT / "docs/few_images.md").read_text()


def rows_on_digits(suite):
    """Return method → trials as the table names them → settings, without the network that helps HAT."""
    found = defaultdict(dict)
    for spec in specs(suite, "table1"):
        row = spec.row
        if row.dataset == "digits" and row.method != "standard" and not row.method.startswith("config/"):
            found[row.method][row.variant, row.eps_train] = row.settings
    return found


def test_every_method_has_as_many_trials_on_the_digits():
    trials = rows_on_digits("beyond_trials")
    assert trials.keys() == rows_on_digits("beyond").keys()
    assert {len(each) for each in trials.values()} == {4}


@pytest.mark.parametrize("method", sorted(rows_on_digits("beyond_trials")))
def test_the_digits_of_beyond_have_the_settings_that_were_chosen(method):
    kept = table1.by_seed(Evidence("beyond_trials", ROOT / "results").reference("table1"))
    found = {}
    for (dataset, _, _, eps), seeds in kept.items():
        row = seeds[0].row
        if (dataset, row["method"]) == ("digits", method):
            assert list(seeds) == [0, 1, 2]
            found[row["variant"], eps] = np.mean([run.percents[table1.HELD_OUT] for run in seeds.values()])
    trials, asked = rows_on_digits("beyond_trials")[method], rows_on_digits("beyond")[method]
    assert found.keys() == trials.keys()
    best = max(trials, key=found.__getitem__)
    assert asked[best] == trials[best]
    shown = [f"**{found[trial]:.1f}**" if trial == best else f"{found[trial]:.1f}" for trial in trials]
    assert re.search(rf"^\| `{method}` \| .* \| {re.escape(', '.join(shown))} \|$", BEYOND, re.MULTILINE), (
        shown
    )
    # The ablation has further rows of three methods.
    assert len(asked) == 1 or method in ("madry", "ours-level", "ours-linf")
