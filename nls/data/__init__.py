"""Datasets: images, scans and curves; how they are obtained, checked and read."""

from nls.data.fetch import DATASETS, fetch
from nls.data.images import IMAGE_SETS, ImageDataset, Split, load_images

__all__ = ["DATASETS", "IMAGE_SETS", "ImageDataset", "Split", "fetch", "load_images"]
