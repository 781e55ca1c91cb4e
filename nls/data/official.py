"""MNIST, Fashion-MNIST and CIFAR-10 from their official archives or from a mirror.

torchvision names the archives, their MD5 sums and their addresses, and its dataset classes decode them; its
downloader knows neither time-outs nor resumption, so the transfer is ours.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from nls.data.download import NotThereError, download, md5_of
from nls.data.images import Split, write_images
from nls.data.npz import read_npz
from nls.engine.vision import torchvision
from nls.errors import UserError

# Official addresses that torchvision does not list.
_MORE_ADDRESSES = {
    "fashion_mnist": ["https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"],
    "cifar10": ["http://www.cs.utoronto.ca/~kriz/"],
}


def make_official(name: str, mirror: str | None, folder: Path, scratch: Path) -> dict[str, Any]:
    """Obtain, decode and check one official set, write it into ``folder`` and return the receipt's facts.

    ``mirror`` is a folder or an http(s) address with ``<name>/<official file name>`` or ``<name>.npz``; with a
    mirror, no other address is asked.

    Raises:
        UserError: nothing delivers the archives, or what came is not the official content.
    """
    if mirror is None:
        source, npz = _from_internet(name, scratch), None
    elif mirror.startswith(("http://", "https://")):
        source, npz = _from_address(name, mirror.rstrip("/"), scratch)
    else:
        source, npz = _from_folder(name, Path(mirror), scratch)

    if npz is None:
        train, test = _decode(name, scratch)
    else:
        arrays = read_npz(npz)
        train, test = (Split(arrays[f"x_{split}"], arrays[f"y_{split}"]) for split in ("train", "test"))
    return {**write_images(folder, name, train, test), "source": source}


def addresses(name: str, mirror: str | None) -> list[str]:
    """Return where the set's first archive may be had, in the order in which it is asked for: paths or addresses."""
    first = _archives(name)[0][0]
    if mirror is not None:
        return [f"{mirror.rstrip('/')}/{name}/{first}", f"{mirror.rstrip('/')}/{name}.npz"]
    return [base + first for base in _official(name)]


def _official(name: str) -> list[str]:
    kind = _class(name)
    bases = [kind.url.rsplit("/", 1)[0] + "/"] if name == "cifar10" else list(kind.mirrors)
    return bases + _MORE_ADDRESSES.get(name, [])


def _archives(name: str) -> list[tuple[str, str]]:
    """Return file name and MD5 sum of each archive."""
    kind = _class(name)
    return [(kind.filename, kind.tgz_md5)] if name == "cifar10" else list(kind.resources)


def _class(name: str) -> Any:
    sets = torchvision.datasets
    return {"mnist": sets.MNIST, "fashion_mnist": sets.FashionMNIST, "cifar10": sets.CIFAR10}[name]


def _raw(name: str, scratch: Path) -> Path:
    """Return the folder in which torchvision's class expects the archives."""
    raw = scratch if name == "cifar10" else scratch / _class(name).__name__ / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    return raw


def _from_internet(name: str, scratch: Path) -> str:
    for file, md5 in _archives(name):
        download([base + file for base in _official(name)], _raw(name, scratch) / file, md5)
    return "official archives"


def _from_address(name: str, mirror: str, scratch: Path) -> tuple[str, Path | None]:
    """Take the archives from ``<mirror>/<name>/`` or else ``<mirror>/<name>.npz``."""
    try:
        for file, md5 in _archives(name):
            download([f"{mirror}/{name}/{file}"], _raw(name, scratch) / file, md5)
    except NotThereError:
        npz = scratch / f"{name}.npz"
        try:
            download([f"{mirror}/{name}.npz"], npz, None)
        except NotThereError as error:
            raise UserError(
                f"mirror {mirror} has neither {name}/{_archives(name)[0][0]} nor {name}.npz: put one there, or leave"
                " --mirror out"
            ) from error
        return f"{mirror}/{name}.npz", npz
    return f"{mirror}/{name}", None


def _from_folder(name: str, mirror: Path, scratch: Path) -> tuple[str, Path | None]:
    """Take the archives from ``<mirror>/<name>/`` or else ``<mirror>/<name>.npz``."""
    archives = _archives(name)
    missing = [file for file, _ in archives if not (mirror / name / file).is_file()]
    npz = mirror / f"{name}.npz"
    if missing and npz.is_file():
        return str(npz), npz
    if missing:
        raise UserError(
            f"mirror {mirror} has neither {name}/{missing[0]} nor {name}.npz: put one there, or leave --mirror out"
        )
    for file, md5 in archives:
        source, target = mirror / name / file, _raw(name, scratch) / file
        shutil.copyfile(source, target)
        if md5_of(target) != md5:
            raise UserError(f"{source} is not the official file (MD5): replace it, or leave --mirror out")
    return str(mirror / name), None


def _decode(name: str, scratch: Path) -> tuple[Split, Split]:
    """Let torchvision unpack, check and decode the archives."""
    splits = []
    for is_train in (True, False):
        data = _class(name)(scratch, train=is_train, download=True)
        images = np.asarray(data.data)
        images = images.transpose(0, 3, 1, 2) if images.ndim == 4 else images[:, None]
        splits.append(Split(images, np.asarray(data.targets, dtype=np.int64)))
    return splits[0], splits[1]
