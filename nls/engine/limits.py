"""Bounds of what may be asked for, which the command line and configurations share."""

# Above this neither NumPy's nor the attacks' random numbers can be seeded.
LARGEST_SEED = 2**32 - 1
