"""Datasets: images, scans and curves; how they are obtained, checked and read."""

from nls.data.curves import Curve, load_curves
from nls.data.fetch import DATASETS, fetch
from nls.data.images import IMAGE_SETS, ImageDataset, Split, load_images
from nls.data.ply import read_points, write_ply
from nls.data.scans import ScanPair, load_scans

__all__ = [
    "DATASETS",
    "IMAGE_SETS",
    "Curve",
    "ImageDataset",
    "ScanPair",
    "Split",
    "fetch",
    "load_curves",
    "load_images",
    "load_scans",
    "read_points",
    "write_ply",
]
