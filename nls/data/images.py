"""Labelled images: sets by name and sets of one's own, as memory-mapped arrays with a content fingerprint."""

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from nls.data import store
from nls.data.npz import read_npz
from nls.errors import UserError

IMAGE_SETS = ("digits", "mnist", "fashion_mnist", "cifar10")

# Order-free fingerprints of the official sets.
KNOWN_FINGERPRINTS: Mapping[str, Mapping[str, str]] = {
    "mnist": {
        "train": "54e1ab866c9484947dd4821c52bb7a43938f555d6b046be6af55247f8e6ffc64",
        "test": "97b756d55950f1841ebd48df7379b9b2fc87a10d63e08d6213dad41d564e8508",
    },
    "fashion_mnist": {
        "train": "fb88a2f5c1b590c907f860b47803d006e4fa7b276cdb551799af9d443accdff7",
        "test": "0b381379398a0943a88bf3864ff3f5177903dcf178030b4b74c495294b38fa7c",
    },
    "cifar10": {
        "train": "6a3b2c04d0a79ce272dcdacaf0bc440275db5a8cbe3717521a28fada2ea0d2ed",
        "test": "65a6ffe079453e514083f99356b35e02cbfd581b4951e3937fae188974b79f39",
    },
}

RECIPE = 1


@dataclass(frozen=True)
class Split:
    """Images (n, c, h, w), uint8, memory-mapped where they come from a file; labels (n,), int64."""

    images: UInt8[np.ndarray, "n c h w"]
    labels: Int64[np.ndarray, " n"]


@dataclass(frozen=True)
class ImageDataset:
    """A training and a test split, the number of classes, and each split's fingerprint (:func:`fingerprint`)."""

    name: str
    train: Split
    test: Split
    classes: int
    fingerprint: dict[str, str]


def fingerprint(split: Split) -> str:
    """Hash a split's content, whatever its order: SHA-256 over the sorted SHA-256 of (image bytes + label byte).

    An image's bytes are those of H × W (one channel) or H × W × C.
    """
    digests = sorted(
        hashlib.sha256(image.transpose(1, 2, 0).tobytes() + bytes([label])).digest()
        for image, label in zip(split.images, split.labels.tolist(), strict=True)
    )
    return hashlib.sha256(b"".join(digests)).hexdigest()


def load_images(name_or_path: str, root: Path) -> ImageDataset:
    """Load a set of :data:`IMAGE_SETS` that was fetched under ``root``, or an ``.npz`` file of one's own.

    The file holds ``x_train``, ``y_train``, ``x_test``, ``y_test`` (see :func:`nls.data.npz.read_npz`); it is
    decoded once, into ``<root>/.npz/``, and again only when the file changes. ``digits`` needs no fetch: it is
    taken from scikit-learn where ``root`` does not hold it.

    Raises:
        UserError: an unknown name, a set that was not fetched or is damaged, or a bad file.
    """
    if name_or_path.endswith(".npz"):
        return _load_own(Path(name_or_path), root)
    if name_or_path not in IMAGE_SETS:
        raise UserError(
            f"unknown dataset {name_or_path!r}: take one of {', '.join(IMAGE_SETS)} or a path to an .npz file"
        )
    folder = root / name_or_path
    if name_or_path == "digits" and store.read_receipt(folder) is None:
        train, test = digits()
        prints = {"train": fingerprint(train), "test": fingerprint(test)}
        return ImageDataset("digits", train, test, 10, prints)
    receipt = store.require_receipt(folder)
    store.require_intact(folder, receipt)
    return _open(folder, name_or_path, receipt)


def write_images(folder: Path, name: str, train: Split, test: Split) -> dict[str, Any]:
    """Write both splits as arrays that can be mapped, and return the receipt's facts.

    Raises:
        UserError: the name is an official one and the content is not the official content.
    """
    prints = {"train": fingerprint(train), "test": fingerprint(test)}
    for split in ("train", "test"):
        known = KNOWN_FINGERPRINTS.get(name, prints)[split]
        if prints[split] != known:
            raise UserError(
                f"the {split} images of {name} are not the official ones (fingerprint {prints[split][:12]}…,"
                f" expected {known[:12]}…): take another mirror, or use the file as a set of your own by its path"
            )
    for split, data in (("train", train), ("test", test)):
        _write_array(folder / f"{split}_images.npy", data.images)
        _write_array(folder / f"{split}_labels.npy", data.labels)
    classes = int(max(train.labels.max(), test.labels.max())) + 1
    return {"name": name, "classes": classes, "fingerprint": prints}


def digits() -> tuple[Split, Split]:
    """Return scikit-learn's 1,797 digits (8 × 8), scaled from 0..16 to 0..255, as training and test split.

    Of each class, one image in five (rounded) is for testing, chosen by numpy's frozen ``RandomState(0)``; both
    splits keep the package's order.
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = np.round(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = labels.astype(np.int64)
    random = np.random.RandomState(0)
    for_test = np.zeros(len(labels), dtype=bool)
    for digit in range(10):
        members = random.permutation(np.flatnonzero(labels == digit))
        for_test[members[: round(len(members) / 5)]] = True
    return Split(images[~for_test], labels[~for_test]), Split(images[for_test], labels[for_test])


def _write_array(path: Path, array: np.ndarray) -> None:
    """Write a .npy file by plain writes: numpy.save's own do not tell a full disk from other failures."""
    array = np.ascontiguousarray(array)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)


def _load_own(path: Path, root: Path) -> ImageDataset:
    """Open the decoded copy of an ``.npz`` file, decoding the file if it is new or has changed."""
    try:
        state = path.stat()
    except OSError as error:
        raise UserError(f"cannot read dataset {path}: {error.strerror}") from error
    cache = f"{path.stem}-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    source = {"path": str(path.resolve()), "size": state.st_size, "mtime_ns": state.st_mtime_ns}
    identity = {"recipe": RECIPE, "source": source}

    def decode(folder: Path, scratch: Path) -> dict[str, Any]:
        arrays = read_npz(path)
        train = Split(arrays["x_train"], arrays["y_train"])
        test = Split(arrays["x_test"], arrays["y_test"])
        facts = write_images(folder, str(path), train, test)
        if facts["fingerprint"] != KNOWN_FINGERPRINTS.get(path.stem, facts["fingerprint"]):
            print(f"note: {path} is named like {path.stem} but its content is another", file=sys.stderr)
        return facts

    folder = root / ".npz" / cache
    store.build(folder.parent, cache, identity, decode)
    receipt = store.intact_receipt(folder, identity)
    if receipt is None:
        raise UserError(f"{path} changed while it was read: run the command again")
    return _open(folder, path.stem, receipt)


def _open(folder: Path, name: str, receipt: Mapping[str, Any]) -> ImageDataset:
    # Mapped copy on write: torch takes only arrays that can be written, and no write may reach the file.
    train, test = (
        Split(
            np.load(folder / f"{split}_images.npy", mmap_mode="c"),
            np.load(folder / f"{split}_labels.npy"),
        )
        for split in ("train", "test")
    )
    return ImageDataset(name, train, test, receipt["classes"], dict(receipt["fingerprint"]))
