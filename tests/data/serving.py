"""A web server that behaves well or badly, and archives for it to serve."""

import gzip
import hashlib
import http.server
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from nls.data import images
from nls.data.images import Split, fingerprint
from nls.engine.vision import torchvision

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


class Server:
    """Serves a folder on 127.0.0.1; ``rules`` turns a path bad: a list of behaviours, one a request, then good.

    Behaviours: "whole", "cut" (half of what is due, then the end), "wrong" (right length, wrong bytes), "404",
    "hang", "late" (waits for ``released``), "no range" (answers a range request with the whole file), "other
    range" (answers with a range that nobody asked for).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rules: dict[str, list[str]] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.sent = 0
        self.over = threading.Event()
        self.released = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.requests.append((handler.path, wanted))
        rule = self.rules[handler.path].pop(0) if self.rules.get(handler.path) else "whole"
        file = self.folder / handler.path.lstrip("/")
        if rule == "hang":
            self.over.wait()
            return
        if rule == "late":
            self.released.wait()
        if rule == "404" or not file.is_file():
            handler.send_error(404)
            return
        body = file.read_bytes()
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and rule != "no range" else 0
        if start >= len(body):
            handler.send_error(416)
            return
        if rule == "other range":
            start //= 2
        total, body = len(body), body[start:]
        if rule == "wrong":
            body = bytes(len(body))
        handler.send_response(206 if wanted and rule != "no range" else 200)
        if wanted and rule != "no range":
            handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        body = body[: len(body) // 2] if rule == "cut" else body
        handler.wfile.write(body)
        self.sent += len(body)


@dataclass
class Archives:
    """MNIST's archives in ``<mirror>/mnist/``: the official ones where they are at hand, else small ones made up."""

    mirror: Path
    names: list[str]
    fingerprint: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum((self.mirror / "mnist" / name).stat().st_size for name in self.names)


def made_up_archives(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> Archives:
    """Write small archives in MNIST's format and make them the official ones for this test."""
    (mirror / "mnist").mkdir(parents=True)
    random = np.random.default_rng(0)
    resources, prints = [], {}
    for split, prefix, n in (("train", "train", 90), ("test", "t10k", 30)):
        pixels = random.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = (np.arange(n) % 10).astype(np.uint8)
        prints[split] = fingerprint(Split(pixels[:, None], labels.astype(np.int64)))
        for name, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + b"".join(k.to_bytes(4, "big") for k in array.shape)
            content = gzip.compress(header + array.tobytes(), mtime=0)
            file = mirror / "mnist" / f"{prefix}-{name}-ubyte.gz"
            file.write_bytes(content)
            resources.append((file.name, hashlib.md5(content).hexdigest()))
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    monkeypatch.setattr(images, "KNOWN_FINGERPRINTS", {**images.KNOWN_FINGERPRINTS, "mnist": prints})
    return Archives(mirror, [name for name, _ in resources], prints)
