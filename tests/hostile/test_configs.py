"""Config files that cannot be meant: refused in one line that names the key, before any work."""

import copy

import pytest
import yaml
from good import GOOD

F1, F2, T1 = "figure1.training", "figure2.datasets.digits", "table1.rows.0"
SVM = f"{F2}.losses.geometric_svm"
HUGE = "9" * 5000
LAUGHS = "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}' if k else 'ha'] * 9)}]\n" for k in range(10))


def with_value(key, value):
    """Return the good config with a value at a key of its experiments, such as ``table1.rows.0.dataset``."""
    config = copy.deepcopy(GOOD)
    *path, last = key.split(".")
    place = config if key in ("suite", "data_root", "mirror", "device", "threads") else config["experiments"]
    for part in path:
        place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
    place[int(last) if isinstance(place, list) else last] = value
    return yaml.safe_dump(config)


def refuse(refused, tmp_path, content, *told):
    (tmp_path / "config").mkdir(exist_ok=True)
    (tmp_path / "config/bad.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(["doctor", "--suite", "bad"], "config/bad.yaml", *told)


TEXTS = {
    "empty": ("", ["no mapping"]),
    "a list": ("[1, 2]", ["no mapping"]),
    "a word": ("suite", ["no mapping"]),
    "binary": (bytes(range(256)), ["not YAML"]),
    "latin-1": ("suite: Größe".encode("latin-1"), ["not YAML"]),
    "zeros": (b"\0" * 100, ["not YAML"]),
    "a tab": ("suite:\n\tx: 1", ["line 2", "'\\t'"]),
    "an open list": ("suite: [", ["not YAML"]),
    "no suite": ("experiments: {}", ["key 'suite' is missing"]),
    "no experiments": ("suite: a", ["key 'experiments' is missing"]),
    "none of the experiments": ("suite: a\nexperiments: {}", ["experiments: {}", "at least one of figure1"]),
    "an empty experiment": ("suite: a\nexperiments:\n  figure1:", ["at least one of figure1"]),
    "a key twice": ("suite: a\nsuite: b", ["line 2", "'suite' is given twice"]),
    "a key twice inside": ("suite: a\nexperiments: {figure1: {}, figure1: {}}", ["'figure1' is given twice"]),
    "a list as key": ("? [a]\n: 1", ["a key is no word"]),
    "a number as key": ("1: 2\nsuite: a\nexperiments: {}", ["1"]),
    "infinite": ("suite: a\nx: .inf", ["line 2", ".inf is no finite number"]),
    "not a number": ("suite: a\nx: .nan", [".nan is no finite number"]),
    "no point": ("suite: a\nx: 2e-3", ["line 2", "takes 2e-3 for a word: write 2.0e-3"]),
    "no sign": ("suite: a\nx: 1.5e3", ["write 1.5e+3"]),
    "base 60": ("suite: a\nx: 1:30", ["1:30", "base 60"]),
    "base 8": ("suite: a\nx: 010", ["010", "base 8"]),
    "5,000 digits": (f"suite: a\nx: {HUGE}", ["line 2", "999…"]),
    "deep": ("[" * 3000, ["nested too deeply"]),
    "deep mapping": ("{a: " * 3000, ["nested too deeply"]),
    "a tag that fails": ("suite: !!int abc", ["abc is no int"]),
    "a tag of nothing": ("suite: !!int", ["is no int"]),
    "a time that is none": ("suite: !!timestamp abc", ["abc is no timestamp"]),
    "a tag of one's own": ("suite: !mine a", ["'!mine'"]),
    "code": ("suite: !!python/object/apply:os.system ['touch executed']", ["python/object/apply"]),
    "no such alias": ("suite: *a", ["undefined alias"]),
    "of itself": ("suite: &a [*a]", ["aliases"]),
    "a billion laughs": (LAUGHS, ["aliases"]),
}


@pytest.mark.parametrize("case", TEXTS)
def test_what_is_no_config_is_refused(refused, tmp_path, case):
    content, told = TEXTS[case]
    refuse(refused, tmp_path, content, *told)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        # general
        ("suite", "", ["suite"]),
        ("suite", "..", ["suite", "'..'"]),
        ("suite", "a/b", ["suite", "'a/b'"]),
        ("suite", "a b", ["suite", "'a b'"]),
        ("suite", "ä", ["suite"]),
        ("suite", "reference", ["suite", "results/reference"]),
        ("suite", 7, ["suite: 7"]),
        ("suite", "x" * 5000, ["suite", "xxx…"]),
        ("device", "tpu", ["device: 'tpu'"]),
        ("data_root", "", ["data_root"]),
        ("data_root", "a\nb", ["data_root"]),
        ("data_root", "{dataset}", ["data_root"]),
        ("mirror", "{x}", ["mirror"]),
        ("figure9", {}, ["unknown key 'experiments.figure9'", "did you mean"]),
        ("figure1", [], ["figure1"]),
        ("figure1.threads", 0, ["figure1.threads: 0"]),
        ("figure1.threads", 10**9, ["figure1.threads", "1024"]),
        ("figure1.threads", True, ["figure1.threads: True"]),
        ("figure1.resources.mem_mb", -1, ["mem_mb: -1"]),
        # Figure 1
        (f"{F1}.gap", 3.0, ["gap: 3.0", "0.8"]),
        (f"{F1}.gap", -0.1, ["gap: -0.1"]),
        (f"{F1}.points_per_class", 10**9, ["points_per_class"]),
        (f"{F1}.seed", -1, ["seed: -1"]),
        (f"{F1}.seed", 2**32, ["seed: 4294967296", "4294967295"]),
        (f"{F1}.steps", 0, ["steps: 0"]),
        (f"{F1}.steps", 1.5, ["steps: 1.5"]),
        (f"{F1}.learning_rate", 0, ["learning_rate: 0"]),
        (f"{F1}.eps_linf", -1, ["eps_linf: -1"]),
        # Figure 2
        (f"{F2}.seeds", 10**9, ["seeds", "10000"]),
        (f"{F2}.seeds", 0, ["seeds: 0"]),
        (f"{F2}.fractions", [], ["fractions: []"]),
        (f"{F2}.fractions", [1.5], ["fractions.0: 1.5"]),
        (f"{F2}.losses", {}, ["losses: {}"]),
        (f"{F2}.losses", {"": {}}, ["losses", "cross_entropy"]),
        (f"{SVM}.regularisation", 0.1, ["'regularisation'", "did you mean 'regularization'?"]),
        (f"{SVM}.regularization", -1.0, ["regularization: -1.0"]),
        (f"{SVM}.regularization", "much", ["regularization: 'much'"]),
        (f"{SVM}.norm", "l1", ["norm: 'l1'"]),
        (f"{SVM}.tolerance", 0.7, ["tolerance: 0.7"]),
        (f"{F2}.losses.cross_entropy.weight", 1.0, ["'weight'"]),
        (f"{F2}.losses.cross_entropy.training", {"steps": 0}, ["steps: 0"]),
        ("figure2.datasets", {}, ["datasets: {}"]),
        ("figure2.datasets", {"minst": {"fractions": [1.0], "seeds": 1, "losses": {"hinge": {}}}}, ["minst"]),
        ("figure2.datasets", {"é{}.npz": {"fractions": [1.0], "seeds": 1, "losses": {"hinge": {}}}}, ["npz"]),
        (
            "figure2.datasets",
            {"é.npz": {"fractions": [1.0], "seeds": 1, "losses": {"hinge": {}}}},
            ["'é-1-hinge"],
        ),
        # Table 1
        ("table1.rows", [], ["rows: []"]),
        (f"{T1}.dataset", "minst", ["minst", "cifar10"]),
        (f"{T1}.dataset", "", ["rows.0.dataset"]),
        (f"{T1}.dataset", "a\nb.npz", ["rows.0.dataset"]),
        (f"{T1}.network", "convnet5", ["convnet5", "convnet4a"]),
        (f"{T1}.method", "maddry", ["maddry", "madry"]),
        (f"{T1}.settings", {"epss": 0.1}, ["rows.0.settings", "'epss'", "did you mean 'eps'?"]),
        (f"{T1}.settings", {}, ["rows.0.settings", "'eps' is missing"]),
        (f"{T1}.settings", {"eps": -1.0}, ["rows.0.settings", "eps: -1.0"]),
        (f"{T1}.settings", {"eps": 8}, ["rows.0.settings", "eps: 8", "less than or equal to 1"]),
        (f"{T1}.settings", {"eps": "8/255"}, ["rows.0.settings", "'8/255'"]),
        (f"{T1}.settings", {"eps": 0.1, "steps": 0}, ["rows.0.settings", "steps: 0"]),
        (f"{T1}.settings", {"eps": 0.1, "step_size": 0}, ["rows.0.settings", "step_size: 0"]),
        (f"{T1}.settings", {"eps": 0.1, "warm_up_epochs": -3}, ["warm_up_epochs: -3"]),
        (f"{T1}.eps_train", -0.3, ["eps_train: -0.3"]),
        (f"{T1}.training.milestones", [-1], ["milestones.0: -1"]),
        (f"{T1}.training.epochs", 0, ["epochs: 0"]),
        (f"{T1}.training.epochs", "5", ["epochs: '5'"]),
        (f"{T1}.training.batch_size", 0, ["batch_size: 0"]),
        (f"{T1}.training.held_out", 5, ["held_out: 5", "50 or more"]),
        (f"{T1}.training.train_images", 0, ["train_images: 0"]),
        (f"{T1}.training.average", 1.0, ["average: 1.0"]),
        (f"{T1}.training.decay", 2.0, ["decay: 2.0"]),
        ("table1.seeds", 10**9, ["seeds", "10000"]),
        ("table1.seeds", [-1], ["seeds: [-1]"]),
        ("table1.seeds", [0, 2**32], ["seeds: [0, 4294967296]", "4294967295"]),
        ("table1.attacks", {}, ["attacks has no key 'digits'"]),
        ("table1.attacks.digits.attacks", [], ["attacks.digits.attacks: []"]),
        ("table1.attacks.digits.attacks", ["pgd"], ["unknown attack 'pgd'"]),
        ("table1.attacks.digits.eps", 8, ["eps: 8", "less than or equal to 1"]),
        ("table1.attacks.digits.step_size", 2.0, ["step_size: 2.0"]),
        ("table1.attacks.digits.curve_eps", [0.2, 0.1], ["curve_eps", "ascend"]),
        ("table1.attacks.digits.curve_eps", [0.1, 0.1], ["curve_eps", "each once"]),
        ("table1.attacks.digits.curve_eps", [0.1, 8.0], ["curve_eps", "at most 1"]),
        ("table1.attacks.digits.test_images", 0, ["test_images: 0"]),
        # black box
        (
            "blackbox.groups.0.models",
            ["digits-convnet-small-madry", "digits-convnet-small-madry-seed1"],
            ["'digits-convnet-small-madry-seed1' names a seed"],
        ),
        ("blackbox.groups.0.models", ["digits-convnet-small-madry"], ["models", "at least 2"]),
        (
            "blackbox.groups.0.models",
            ["digits-convnet-small-madry", "typo"],
            ["experiments.blackbox", "table1/typo"],
        ),
        ("blackbox.groups.0.transfer.eps", 8, ["eps: 8"]),
        ("blackbox.seed", 2**32, ["seed: 4294967296", "4294967295"]),
        ("blackbox.seeds", 3, ["experiments.blackbox", "has no run", "seed1"]),
        # surfaces
        ("table2.methods", {}, ["methods: {}"]),
        ("table2.methods", {"": {"method": "poisson"}}, ["experiments.table2", "cannot be named '-000'"]),
        ("table2.methods", {"Ürban": {"method": "poisson"}}, ["experiments.table2", "'Ürban-000'"]),
        ("table2.methods", {"a": {"method": "possion"}}, ["methods.a", "poisson"]),
        ("table2.methods", {"a": {}}, ["methods.a"]),
        (
            "table2.methods",
            {"a": {"method": "poisson", "depht": 3}},
            ["methods.a.depht'", "did you mean 'depth'?"],
        ),
        ("table2.methods", {"a": {"method": "poisson", "depth": 40}}, ["depth: 40"]),
        ("table2.methods.levelset.detail", {"cells": [-1.0]}, ["cells"]),
        ("table2.methods.levelset.training", {"steps": 0}, ["steps: 0"]),
        ("table2.methods.levelset.detail", {"sampling": {"level_sigmas": [-0.1]}}, ["level_sigmas"]),
        ("table2.resolution", 10**6, ["resolution", "4096"]),
        ("table2.max_points", 10, ["max_points: 10"]),
        ("table2.scans", [77], ["experiments.table2", "no scan 77", "0 to 9"]),
        ("table2.scans", [-1], ["experiments.table2", "no scan -1"]),
        ("table2.scans", [], ["scans: []"]),
        ("table2.data", "bodeis", ["data: 'bodeis'"]),
        ("table2.data", "none.csv", ["experiments.table2", "none.csv", "No such file"]),
        ("table2.data", "a{b}.csv", ["data: 'a{b}.csv'"]),
        ("table2-time.seconds", [], ["seconds: []"]),
        ("table2-time.seconds", [-5.0], ["seconds"]),
        ("figure3.curves", ["closed_nose"], ["closed_nose", "closed_noise"]),
        ("figure3.curves", [], ["curves: []"]),
        ("figure3.fit.resolution", 1, ["resolution: 1"]),
        ("hard_inputs.conditions", ["rain"], ["rain", "outliers-2"]),
        ("hard_inputs.scans", [10], ["scans.0: 10"]),
        ("universality.shapes", {"cub": [8]}, ["cub", "cube"]),
        ("universality.shapes", {}, ["shapes: {}"]),
        ("universality.shapes", {"body-": [8]}, ["body-"]),
        ("universality.shapes", {"body-0": [8]}, ["body-0"]),
        ("universality.shapes", {"body-" + "9" * 400: [8]}, ["body-9"]),
        ("universality.shapes", {"cube": [0]}, ["shapes.cube.0: 0"]),
        ("universality.shapes", {"cube": [10**6]}, ["shapes.cube.0: 1000000"]),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_naming_its_key(refused, tmp_path, key, value, told):
    refuse(refused, tmp_path, with_value(key, value), *told)


def test_the_config_that_the_cases_change_is_good():
    from nls.experiments import load_suite

    assert load_suite(GOOD, "good").specs


def test_there_is_no_such_suite(refused):
    refused(["doctor", "--suite", "nowhere"], "config/nowhere.yaml")


def test_a_suite_is_a_name_and_no_path(refused):
    refused(["doctor", "--suite", "../x\ny"], "\\n")
