"""Surfaces from point clouds: the methods of Table 2, one a file, and :func:`reconstruct`.

``levelset.py``, ``igr.py``, ``atlasnet.py``, ``poisson.py`` and ``user_method.py`` each hold a method's settings and
how it makes a surface; ``methods.py`` lists them; ``training.py`` is the loop that trains a network. To try another
network, loss or schedule, change the method's own file. docs/surfaces.md says what the defaults reach, and in what
time.
"""

from nls.reconstruction.api import Reconstruction, reconstruct, reconstruct_with
from nls.reconstruction.methods import METHODS, Method

__all__ = ["METHODS", "Method", "Reconstruction", "reconstruct", "reconstruct_with"]
