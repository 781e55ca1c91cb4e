"""Image sets of one's own: an ``.npz`` file with ``x_train``, ``y_train``, ``x_test`` and ``y_test``."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from nls.errors import UserError, first_line

KEYS = ("x_train", "y_train", "x_test", "y_test")
# The last two for members that are encrypted, or larger than any memory.
_UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, MemoryError)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read and check an image set; return images as uint8 (n, c, h, w) and labels as int64 (n,).

    In the file, images are (n, h, w), (n, h, w, 1) or (n, h, w, 3) of an integer type with values 0..255; labels
    are (n,) of an integer type with values 0..255, and no test label is above the largest training label.

    Raises:
        UserError: the file cannot be read, an array is missing, or one has a wrong shape, type or value.
    """
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise UserError(f"{path} is not an .npz file: save it with numpy.savez")
        with file:
            missing = [key for key in KEYS if key not in file.files]
            if missing:
                raise UserError(
                    f"{path} has no array {', '.join(missing)}: an image set needs {', '.join(KEYS)}"
                )
            arrays = {key: file[key] for key in KEYS}
    except _UNREADABLE as error:
        raise UserError(
            f"cannot read {path} as an .npz file ({first_line(error)}): save it anew with numpy.savez"
        ) from error

    for split in ("train", "test"):
        images, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
        arrays[f"x_{split}"] = _checked_images(images, f"x_{split} in {path}")
        arrays[f"y_{split}"] = _checked_labels(labels, f"y_{split} in {path}")
        if len(images) != len(labels):
            raise UserError(
                f"{path} has {len(images)} images in x_{split} but {len(labels)} labels in y_{split}:"
                " give each image one label"
            )
    if arrays["x_train"].shape[1:] != arrays["x_test"].shape[1:]:
        train, test = (arrays[key].shape[1:] for key in ("x_train", "x_test"))
        raise UserError(
            f"{path} has training images of shape {train} but test images of shape {test} (c, h, w)"
        )
    if len(np.unique(arrays["y_train"])) < 2:
        raise UserError(f"{path} has one class only in y_train: nothing is to be told apart")
    highest, unknown = arrays["y_train"].max(), arrays["y_test"].max()
    if unknown > highest:
        raise UserError(
            f"y_test in {path} has label {unknown} but y_train ends at {highest}: check the labels"
        )
    return arrays


def _checked_images(images: np.ndarray, what: str) -> np.ndarray:
    _check_bytes(images, what)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise UserError(
            f"{what} has shape {images.shape}: images are (n, h, w), (n, h, w, 1) or (n, h, w, 3), at least one"
        )
    if images.max() <= 1:
        raise UserError(f"{what} has no value above 1, so every image is black: save values 0..255")
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.uint8)


def _checked_labels(labels: np.ndarray, what: str) -> np.ndarray:
    _check_bytes(labels, what)
    if labels.ndim != 1 or len(labels) == 0:
        raise UserError(f"{what} has shape {labels.shape}: labels are (n,), at least one")
    return labels.astype(np.int64)


def _check_bytes(array: np.ndarray, what: str) -> None:
    if not np.issubdtype(array.dtype, np.integer):
        raise UserError(
            f"{what} is of type {array.dtype}: save whole numbers 0..255 as uint8 (of images in [0, 1]: 255 times)"
        )
    if array.size and (array.min() < 0 or array.max() > 255):
        raise UserError(f"{what} has values {array.min()}..{array.max()}: values are 0..255")
