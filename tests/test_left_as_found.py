"""A test that leaves a mess does not reach the next one (see tests/as_found.py)."""

import os
import random
import sys

import numpy as np
import pytest
import torch
from hypothesis import settings

FOUND = {}


def found():
    return {
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "gradients": torch.is_grad_enabled(),
        "environment": {key: value for key, value in os.environ.items() if key != "PYTEST_CURRENT_TEST"},
        "folder": os.getcwd(),
        "modules": {name for name in sys.modules if name.startswith("nls_user_")},
        "draws": (random.random(), np.random.rand(), float(torch.rand(()))),
    }


@pytest.mark.parametrize("time", ["first", "second"])
def test_a_test_that_leaves_a_mess(time, tmp_path):
    FOUND[time] = found()
    torch.set_num_threads(2)
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    torch.set_grad_enabled(False)
    os.environ["NLS_MIRROR"] = "nowhere"
    os.environ.pop("PATH")
    os.chdir(tmp_path)
    sys.modules["nls_user_mess"] = sys
    torch.manual_seed(1)


def test_the_second_time_finds_what_the_first_time_found():
    assert FOUND["first"] == FOUND["second"]
    assert FOUND["first"]["threads"] == 1


def test_examples_are_fixed_unless_chance_is_asked_for(request):
    asked = request.config.getoption("hypothesis_profile") == "random"
    assert settings.default.derandomize is not asked
    assert settings.default.database is None
    assert settings.default.deadline is None
