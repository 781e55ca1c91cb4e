"""Where a run's numbers come from: code, packages, machine."""

import hashlib
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from nls.engine.devices import device_name, float32_products
from nls.engine.graphs import how_repeated

PACKAGES = (
    "nls",
    "torch",
    "torchvision",
    "torchattacks",
    "numpy",
    "scipy",
    "scikit-learn",
    "scikit-image",
    "trimesh",
)


def describe(device: torch.device) -> dict[str, Any]:
    """Return commit, Python, platform, device and threads, and how float32 and repeated steps are computed."""
    return {
        "commit": code_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": {
            "type": device.type,
            "name": device_name(device),
            "threads": torch.get_num_threads(),
            "products": float32_products(),
            "repeated_steps": how_repeated(device),
        },
    }


def code_commit() -> str | None:
    """Return the commit of the checkout that the code runs from, with ``+changes`` if files differ from it.

    None without a checkout, or where the code is installed within one of something else.
    """
    here = Path(__file__).resolve().parent
    commit = _git(here, "rev-parse", "HEAD")
    if commit is None or _git(here, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return commit + ("+changes" if _git(here, "status", "--porcelain", "--", "..") else "")


def source_fingerprint() -> str:
    """Return the SHA-256 of this package's source files, names and contents."""
    package = Path(__file__).resolve().parents[1]
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        found.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that results depend on, as far as they are installed."""
    found = {name: version for name in PACKAGES if (version := _version(name)) is not None}
    return found | {"torch": torch.__version__}  # with its build for CUDA, which the metadata leave out


def _git(folder: Path, *words: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=30
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
