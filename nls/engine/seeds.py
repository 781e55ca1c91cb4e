"""Seeded, independent streams of random numbers, and deterministic kernels."""

import hashlib
import os

import numpy as np
import torch

from nls.engine.devices import require_float32


def stream_seed(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for the stream ``names`` of ``seed``; different names are independent."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def torch_stream(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch generator for one stream, so that what one part draws never shifts another part."""
    return torch.Generator(device).manual_seed(stream_seed(seed, *names))


def numpy_stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return a numpy generator for one stream."""
    return np.random.default_rng(stream_seed(seed, *names))


def make_deterministic(threads: int) -> None:
    """Choose deterministic kernels, whole float32, and a fixed number of threads, on which float sums depend."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    # torch.use_deterministic_algorithms would import a compiler that nothing here uses: two seconds a process.
    torch.set_deterministic_debug_mode("warn")
    # Else every new tensor is filled with nan before a kernel writes to it.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    require_float32()
