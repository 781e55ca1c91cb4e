import pytest
import torch

from nls.engine.devices import _PRODUCTS, _readable, float32_products, full_float32, require_float32


def state():
    """Return what torch's newer interface says, and its older one where it can."""
    older = (torch.get_float32_matmul_precision, lambda: torch.backends.cudnn.allow_tf32)
    return [product.fp32_precision for product in _PRODUCTS], [_readable(read) for read in older]


def older(cudnn, matmul):
    torch.backends.cudnn.allow_tf32 = cudnn
    torch.set_float32_matmul_precision(matmul)


CHOICES = {
    "torch's own": lambda: None,
    "no TF32": lambda: older(False, "highest"),
    "TF32": lambda: older(True, "high"),
    "bfloat16": lambda: older(True, "medium"),
    "the newer interface": lambda: setattr(torch.backends.cudnn.conv, "fp32_precision", "tf32"),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_products_are_whole_float32_meanwhile_and_as_the_caller_chose_afterwards(choice):
    CHOICES[choice]()
    before = state()
    with full_float32():
        assert float32_products() == "float32"
        assert state() == (["ieee"] * len(_PRODUCTS), ["highest", False])
        # What models do, and what reads the older interface.
        with torch.backends.cudnn.flags(enabled=False):
            pass
    assert state() == before
    assert float32_products() == {"no TF32": "float32", "bfloat16": "bf16"}.get(choice, "tf32")


def test_a_run_has_whole_float32():
    older(True, "medium")
    require_float32()
    assert float32_products() == "float32"


@pytest.fixture(scope="module")
def run_before():
    require_float32()


def test_a_run_in_a_fixture_leaves_the_tests_a_fresh_process(run_before):
    assert float32_products() == "tf32"
