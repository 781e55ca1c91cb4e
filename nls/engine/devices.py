"""The choice of a device, and float32 arithmetic that is float32."""

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import torch

from nls.errors import UserError

T = TypeVar("T")

# What computes products of float32, and may be told to round the factors: to TF32 on a GPU, to bfloat16 on a CPU.
_PRODUCTS: tuple[Any, ...] = tuple(
    attrgetter(name)(torch.backends)
    for name in ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")
)


def choose_device(wish: str) -> torch.device:
    """Return the device for ``auto``, ``cpu`` or ``cuda``; ``auto`` takes a GPU where there is one.

    Raises:
        UserError: another name, or ``cuda`` was asked for and there is none.
    """
    if wish not in ("auto", "cpu", "cuda"):
        raise UserError(f"unknown device {wish!r}: take auto, cpu or cuda")
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wish == "cuda" and not torch.cuda.is_available():
        raise UserError(
            f"device cuda: torch {torch.__version__} sees no GPU here; take --device cpu or device: auto"
        )
    return torch.device(wish)


def require_float32() -> None:
    """Let products of float32 be computed in float32 everywhere: torch's default for cuDNN is TF32."""
    # Both of torch's interfaces: where they disagree, reading the older one raises.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    for product in _PRODUCTS:
        product.fp32_precision = "ieee"


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute as :func:`require_float32` says, and give the caller's choices back afterwards."""
    matmul = _readable(torch.get_float32_matmul_precision)
    cudnn = _readable(lambda: torch.backends.cudnn.allow_tf32)
    products = [product.fp32_precision for product in _PRODUCTS]
    require_float32()
    try:
        yield
    finally:
        if matmul is not None:
            torch.set_float32_matmul_precision(matmul)
        if cudnn is not None:
            torch.backends.cudnn.allow_tf32 = cudnn
        for product, precision in zip(_PRODUCTS, products, strict=True):
            product.fp32_precision = precision


def float32_products() -> str:
    """Return how products of float32 are computed now: ``float32``, ``tf32`` or ``bf16``, the least of all."""
    found = {product.fp32_precision for product in _PRODUCTS}
    return next((name for name in ("bf16", "tf32") if name in found), "float32")


def _readable(read: Callable[[], T]) -> T | None:
    """Return what torch's older interface says; None where the newer one alone can say it."""
    try:
        return read()
    except RuntimeError:
        return None


def device_name(device: torch.device) -> str:
    """Return the processor's own name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
