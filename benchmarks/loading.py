"""Loading and augmentation against torchvision: python benchmarks/loading.py DATA_ROOT

Needs mnist and cifar10 fetched under DATA_ROOT. Every figure is the median of several runs with warm files.
"""

import argparse
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from nls.data import load_images
from nls.data.augment import CropFlip
from nls.engine.vision import torchvision

BATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    root = parser.parse_args().root
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print(f"{'':34}{'ours':>10}{'torchvision':>13}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name, lay_out in (("mnist", mnist_files), ("cifar10", cifar10_files)):
            theirs = lay_out(root, Path(folder))
            report(f"{name}: open both splits", lambda: load_images(name, root), theirs)  # noqa: B023
            report(f"{name}: and read every pixel", lambda: read_all(name, root), theirs)  # noqa: B023
    for name in ("mnist", "cifar10"):
        augmentation(name, root)


def report(what: str, ours: Callable[[], object], theirs: Callable[[], object]) -> None:
    mine, other = seconds(ours), seconds(theirs)
    print(f"{what:34}{1e3 * mine:8.1f} ms{1e3 * other:10.1f} ms{other / mine:7.0f}×")


def seconds(action: Callable[[], object], runs: int = 5) -> float:
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def read_all(name: str, root: Path) -> None:
    data = load_images(name, root)
    np.array(data.train.images)
    np.array(data.test.images)


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


def augmentation(name: str, root: Path) -> None:
    images = torch.from_numpy(np.array(load_images(name, root).train.images[: 40 * BATCH]))
    size = images.shape[-1]
    augment = CropFlip.draw(len(images), seed=0, epoch=0, device="cpu")
    batches = torch.randperm(len(images)).split(BATCH)
    one = torchvision.transforms.Compose(
        [torchvision.transforms.RandomCrop(size, padding=4), torchvision.transforms.RandomHorizontalFlip()]
    )

    def ours() -> None:
        for index in batches:
            augment(images[index], index)

    def theirs() -> None:
        for index in batches:
            torch.stack([one(images[k]) for k in index.tolist()])

    report(f"{name}: augment {len(batches)} batches of {BATCH}", ours, theirs)


if __name__ == "__main__":
    main()
