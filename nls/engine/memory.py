"""Memory that is given back and taken again in every step of a loop."""

import ctypes

# What glibc's mallopt calls them, see mallopt(3), and the bytes.
_TRIM_THRESHOLD, _KEPT = -1, 1 << 30
_MMAP_THRESHOLD, _LARGEST = -3, 1 << 25


def keep_freed_memory() -> None:
    """Let this process keep, for its next tensors, up to 1 GiB of what its tensors gave back.

    By itself glibc soon returns such memory to the system, which hands it out again page by page, filled with zeros:
    a tenth to a fifth of the time of a step with megabytes of activations. No number depends on it. Tensors of more
    than 32 MiB, and C libraries other than glibc, do as they did.
    """
    change = getattr(ctypes.CDLL(None), "mallopt", None)
    if change is not None:
        change(_MMAP_THRESHOLD, _LARGEST)
        change(_TRIM_THRESHOLD, _KEPT)
