import copy
from pathlib import Path

import pytest
import yaml

from nls.engine.settings import first_difference
from nls.errors import UserError
from nls.experiments import load_suite
from nls.experiments.config_keys import TABLE, table_text

ROOT = Path(__file__).parents[2]
SMOKE = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())


def changed(*steps):
    """Return the smoke config with the value at a path of keys replaced."""
    *path, key, value = steps
    config = copy.deepcopy(SMOKE)
    place = config
    for step in path:
        place = place[step]
    place[key] = value
    return config


FIGURE2, TABLE1 = ("experiments", "figure2"), ("experiments", "table1")
METHODS = ("experiments", "table2", "methods")
ROWS, PLANS = (SMOKE["experiments"]["table1"][key] for key in ("rows", "attacks"))
OWN = ROWS[0] | {"method": "mine.py:Mine"}
DIGITS = (*FIGURE2, "datasets", "digits")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (changed("sweet", 1), ["unknown key 'sweet'", "allowed: suite, data_root"]),
        (
            changed(*FIGURE2, "seeds_per_jobs", 3),
            ["experiments.figure2.seeds_per_jobs", "did you mean 'seeds_per_job'"],
        ),
        (changed(*DIGITS, "fractons", [0.1]), ["digits.fractons", "did you mean 'fractions'"]),
        (changed(*TABLE1, "seeds", 0), ["experiments.table1.seeds: 0", "how many seeds (1 or more)"]),
        (changed(*TABLE1, "seeds", []), ["experiments.table1.seeds: []", "or a list of seeds"]),
        (changed(*TABLE1, "seeds", "three"), ["experiments.table1.seeds: 'three'", "how many seeds"]),
        (changed(*TABLE1, "seeds", [0, -1]), ["seeds: [0, -1]", "each 0 or more"]),
        (changed(*TABLE1, "seeds", [3, 3]), ["seeds: [3, 3]", "a seed is named twice"]),
        (changed("experiments", "table2", "seed", 1), ["table2.seed", "did you mean 'seeds'"]),
        (changed(*DIGITS, "fractions", [0.1, 1.5]), ["fractions.1", "1.5", "less than or equal to 1"]),
        (changed(*DIGITS, "fractions", [0.0]), ["fractions.0", "greater than 0"]),
        (changed(*DIGITS, "seeds", "five"), ["digits.seeds", "'five'", "valid integer"]),
        (changed(*DIGITS, "seeds", "5"), ["digits.seeds", "'5'", "valid integer"]),
        (
            changed(*DIGITS, "losses", {"huber": {}}),
            ["losses", "cross_entropy, hinge, geometric_svm", "file.py:Class"],
        ),
        (
            changed(*FIGURE2, "datasets", {"svhn": SMOKE["experiments"]["figure2"]["datasets"]["digits"]}),
            ["svhn", "mnist"],
        ),
        (changed("device", "tpu"), ["device", "'tpu'", "'auto', 'cpu' or 'cuda'"]),
        (changed("suite", "../up"), ["suite: '../up'", "take letters from A to Z, digits"]),
        (changed("data_root", "a{b}"), ["data_root: 'a{b}'", "no braces"]),
        (
            changed(*DIGITS, "fractions", [0.1, 0.1]),
            ["experiments.figure2", "two runs would be named", "remove one"],
        ),
        (
            changed(*DIGITS, "fractions", [0.1, 0.10000001]),
            ["two runs would be named", "let their names differ in letters from A to Z"],
        ),
        (
            changed(*TABLE1, "rows", [*ROWS, OWN, OWN | {"method": "mine.py:Other"}]),
            ["'digits-convnet-small-mine'", f"give rows.{len(ROWS)} or rows.{len(ROWS) + 1} another variant"],
        ),
        (
            changed(*DIGITS, "losses", {"geometrik_svm": {}}),
            ["digits.losses: geometrik_svm: no loss is called", "did you mean 'geometric_svm'"],
        ),
        (
            changed(*DIGITS, "losses", {"squared": {"los": "mine.py:Squared"}}),
            ["digits.losses: squared: unknown key 'los'; did you mean 'loss'?"],
        ),
        (
            changed(*DIGITS, "losses", {"cross_entropy": {"weight": 1}}),
            ["cross_entropy: unknown key 'weight'; it takes no settings"],
        ),
        (
            changed(*METHODS, "levelset", {"method": "levelset", "training": {"step": 64}}),
            ["'experiments.table2.methods.levelset.training.step'", "did you mean 'steps'"],
        ),
        (
            changed(*METHODS, {"width": {"method": "poisson", "depht": 3}}),
            ["'experiments.table2.methods.width.depht'", "did you mean 'depth'"],
        ),
        (
            changed("experiments", "table2", "data", "body"),
            ["data: 'body'", "bodies, faust, or the path of a .csv file"],
        ),
        (changed(*TABLE1, "attacks", {}), ["experiments.table1: attacks has no key 'digits'"]),
        (
            changed(*TABLE1, "attacks", PLANS | {"mnits": PLANS["digits"]}),
            ["experiments.table1: attacks has the key 'mnits', which is no data set"],
        ),
        (
            changed(*TABLE1, "attacks", "digits", "attacks", ["pgd-xent", "pgd-xent"]),
            ["attacks.digits.attacks", "'pgd-xent' is named twice"],
        ),
    ],
)
def test_a_wrong_config_is_one_line_that_names_file_key_and_what_is_allowed(config, words):
    with pytest.raises(UserError) as caught:
        load_suite(config, "mine.yaml")
    message = str(caught.value)
    assert message.startswith("mine.yaml: ")
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_of_the_project_expands(path):
    suite = load_suite(yaml.safe_load(path.read_text()), str(path))
    assert sum(map(len, suite.specs.values())) > 0


def test_the_table_of_keys_follows_the_code():
    """``make keys`` writes it."""
    assert (ROOT / TABLE).read_text() == table_text()


def test_the_paper_asks_for_its_seeds():
    suite = load_suite(yaml.safe_load((ROOT / "config/paper.yaml").read_text()), "paper")
    datasets = suite.config.experiments.figure2.datasets
    assert datasets["mnist"].seeds == 100
    assert datasets["fashion_mnist"].seeds == datasets["cifar10"].seeds == 20


def test_a_setting_that_an_earlier_version_did_not_have_differs_only_if_it_is_switched_on():
    earlier = {"training": {"epochs": 3, "held_out": 0}}
    for added, difference in (
        (False, None),
        (None, None),
        (True, "calibrate None, not True"),
        (0, "None, not 0"),
    ):
        later = {"training": earlier["training"] | {"calibrate": added}}
        found = first_difference(earlier, later)
        assert found is difference is None or difference in found
        assert (first_difference(later, earlier) is None) == (difference is None)
    assert first_difference({"held_out": 0}, {"held_out": None}) == "held_out 0, not None"
