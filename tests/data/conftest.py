from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serving import SHARED, Archives, Server, made_up_archives

from nls.data import download, images
from nls.engine.vision import torchvision


@pytest.fixture
def serve() -> Iterator[Callable[[Path], Server]]:
    servers: list[Server] = []

    def start(folder: Path) -> Server:
        servers.append(Server(folder))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def official_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archives:
    """MNIST's official archives where they are at hand, else small ones made up."""
    if (SHARED / "mnist").is_dir():
        names = [name for name, _ in torchvision.datasets.MNIST.resources]
        return Archives(SHARED, names, dict(images.KNOWN_FINGERPRINTS["mnist"]))
    return made_up_archives(tmp_path / "made-up", monkeypatch)


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archives:
    """Small archives in MNIST's format, which are the official ones for this test."""
    return made_up_archives(tmp_path / "made-up", monkeypatch)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
