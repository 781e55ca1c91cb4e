"""What every test can rely on: fixed examples, and a process that earlier tests left as they found it."""

import os
import random
import signal
import sys

# One thread a process, before numpy and torch start their own: tests run beside one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from nls.engine.devices import _PRODUCTS

# A shell lets what it starts in the background ignore SIGINT, nohup lets it ignore SIGHUP, and what that starts too.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

# A slow machine is no fault of a property, and examples of earlier sessions would make sessions differ.
_ALWAYS = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("fixed", derandomize=True, max_examples=25, **_ALWAYS)
settings.register_profile("random", max_examples=500, print_blob=True, **_ALWAYS)
settings.load_profile("fixed")


def pytest_collection_modifyitems(items):
    """Put the tests that take longest first, so that no worker is left with them in the end."""
    items.sort(key=lambda item: item.get_closest_marker("workflow") is None)


def pytest_terminal_summary(terminalreporter):
    """Print what passed tests have to tell; workers have no terminal of their own."""
    for report in terminalreporter.stats.get("passed", []):
        for name, text in report.user_properties:
            if name == "told":
                terminalreporter.write_line(text)


@pytest.fixture
def tell(record_property):
    """Print a line after the session, if the test passes."""
    return lambda text: record_property("told", text)


@pytest.fixture(autouse=True)
def _as_found():
    """Start every test from the same state of the process, and put back what it changes."""
    before = _state()
    _restore(before | _FRESH)  # a fixture of a module may have carried out a run
    torch.set_num_threads(1)
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    yield
    _restore(before)


def _state():
    return {
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "modules": set(sys.modules),
        "random": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        **_switches(),
    }


def _switches():
    return {
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.get_deterministic_debug_mode(),
        "products": [product.fp32_precision for product in _PRODUCTS],
    }


def _restore(before):
    running = os.environ.get("PYTEST_CURRENT_TEST")
    if {**os.environ, "PYTEST_CURRENT_TEST": ""} != {**before["environment"], "PYTEST_CURRENT_TEST": ""}:
        os.environ.clear()
        os.environ.update(before["environment"] | {"PYTEST_CURRENT_TEST": running})
    os.chdir(before["folder"])
    for name in set(sys.modules) - before["modules"]:
        if name.startswith("nls_user_"):
            del sys.modules[name]
    random.setstate(before["random"])
    np.random.set_state(before["numpy"])
    torch.set_rng_state(before["torch"])
    torch.set_num_threads(before["threads"])
    torch.set_default_dtype(before["dtype"])
    torch.set_grad_enabled(before["gradients"])
    if [product.fp32_precision for product in _PRODUCTS] != before["products"]:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = True
        for product, precision in zip(_PRODUCTS, before["products"], strict=True):
            product.fp32_precision = precision
    torch.set_deterministic_debug_mode(before["deterministic"])


_FRESH = _switches()
