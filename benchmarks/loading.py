"""Loading and augmentation of images against torchvision.

Loading compares with torchvision on files as torchvision unpacks them, with warm files; it needs mnist and cifar10
fetched under ``data`` and is left out where they are not.
"""

import pickle
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.rows import Growth, Row, taking_turns
from nls.data import load_images
from nls.data.augment import CropFlip
from nls.data.store import read_receipt
from nls.engine.vision import torchvision

BATCH = 128
CPU = torch.device("cpu")
DATA = Path("data")


def rows(quick: bool, device: torch.device) -> Iterator[Row]:
    for name, channels, size in (("MNIST", 1, 28), ("CIFAR10", 3, 32)):
        yield _augmentation(name, channels, size, 8 if quick else 40)
    with tempfile.TemporaryDirectory() as folder:
        for name, lay_out in (("mnist", mnist_files), ("cifar10", cifar10_files)):
            if read_receipt(DATA / name) is not None:
                yield _loading(name, lay_out(DATA, Path(folder)))


def growth(quick: bool, device: torch.device) -> Iterator[Growth]:
    yield from ()


def _loading(name: str, theirs: Callable[[], object]) -> Row:
    def ours() -> None:
        data = load_images(name, DATA)
        np.array(data.train.images)
        np.array(data.test.images)

    ours()
    theirs()
    mine, other = taking_turns(ours, theirs, CPU, 5)
    data = load_images(name, DATA)
    return Row(
        f"{name}: open both splits and read every pixel", mine, "torchvision.datasets", other, None,
        f"{len(data.train.labels) + len(data.test.labels)} images", True,
    )  # fmt: skip


def _augmentation(name: str, channels: int, size: int, batches: int) -> Row:
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(256, (batches * BATCH, channels, size, size), generator=draws, dtype=torch.uint8)
    augment = CropFlip.draw(len(images), seed=0, epoch=0, device="cpu")
    chosen = torch.randperm(len(images), generator=draws).split(BATCH)
    one = torchvision.transforms.Compose(
        [torchvision.transforms.RandomCrop(size, padding=4), torchvision.transforms.RandomHorizontalFlip()]
    )
    found = {}

    def ours() -> None:
        found["ours"] = torch.cat([augment(images[index], index) for index in chosen])

    def theirs() -> None:
        parts = [torch.stack([one(images[k]) for k in index.tolist()]) for index in chosen]
        found["theirs"] = torch.cat(parts)

    ours()
    mine, other = taking_turns(ours, theirs, CPU)
    # Each draws its own crops, so the images are compared by their means: a crop loses a part of the border.
    first, second = (float(found[key].double().mean()) for key in ("ours", "theirs"))
    return Row(
        f"crop and flip, {batches} batches of {BATCH} {name} images", mine, "torchvision.transforms, image by image",
        other, None, f"mean pixel: {first:.2f} and {second:.2f}", abs(first - second) < 1,
    )  # fmt: skip


def mnist_files(root: Path, folder: Path) -> Callable[[], object]:
    """Write MNIST's files as torchvision unpacks them, and return what loads them there."""
    kind = torchvision.datasets.MNIST
    data = load_images("mnist", root)
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, split in (("train", data.train), ("t10k", data.test)):
        for suffix, array in (
            ("images-idx3", split.images[:, 0]),
            ("labels-idx1", split.labels.astype(np.uint8)),
        ):
            header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            (raw / f"{prefix}-{suffix}-ubyte").write_bytes(header + array.tobytes())
    return lambda: [kind(folder, train=train) for train in (True, False)]


def cifar10_files(root: Path, folder: Path) -> Callable[[], object]:
    """Write CIFAR-10's batches as torchvision unpacks them, and return what loads them there.

    The order is not the official one, so torchvision's sums of the batches do not hold: the loader that follows
    its check is timed without it, in torchvision's favour.
    """
    data = load_images("cifar10", root)
    parts = [
        (data.train.images[k : k + 10_000], data.train.labels[k : k + 10_000])
        for k in range(0, 50_000, 10_000)
    ]
    names = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]
    for name, (images, labels) in zip(names, [*parts, (data.test.images, data.test.labels)], strict=True):
        batch = {"data": images.reshape(len(images), -1), "labels": labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(batch))

    def load() -> None:
        for group in (names[:5], names[5:]):
            batches = [pickle.loads((folder / name).read_bytes()) for name in group]
            np.vstack([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)

    return load
