"""Every test starts from the same state of the process, and what it changes is put back."""

import os
import random
import sys

import numpy as np
import pytest
import torch

from nls.engine.devices import _PRODUCTS


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
        "path": list(sys.path),
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
    sys.path[:] = before["path"]
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
