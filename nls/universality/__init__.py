"""Theorem 1 as a program: the boundary of any polyhedral solid as the exact zero level set of a ReLU network."""

from nls.geometry.defects import Defect, find_defect
from nls.geometry.hypersurface import Hypersurface, from_mesh, from_polygons, half_space, slab, wedge
from nls.universality.checks import check, evaluations_per_second, extract
from nls.universality.files import export_onnx, load_network, save_network
from nls.universality.layers import represent
from nls.universality.meshes import LoadedMesh, load_solid
from nls.universality.network import ReLUNetwork, SparseLinear, evaluate
from nls.universality.shapes import SHAPES, shape

__all__ = [
    "SHAPES",
    "Defect",
    "Hypersurface",
    "LoadedMesh",
    "ReLUNetwork",
    "SparseLinear",
    "check",
    "evaluate",
    "evaluations_per_second",
    "export_onnx",
    "extract",
    "find_defect",
    "from_mesh",
    "from_polygons",
    "half_space",
    "load_network",
    "load_solid",
    "represent",
    "save_network",
    "shape",
    "slab",
    "wedge",
]
