"""Bounds of what may be asked for, which the command line and configurations share."""

# Nodes of a meshing grid along an axis.
MIN_RESOLUTION, MAX_RESOLUTION = 16, 4096

# Above this neither NumPy's nor the attacks' random numbers can be seeded.
LARGEST_SEED = 2**32 - 1
