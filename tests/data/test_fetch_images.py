"""The image sets through the command line, from servers and folders that behave well or badly."""

import hashlib
import io
import json
import multiprocessing
import os
import pickle
import resource
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from serving import SHARED, Archives

from nls.cli import main
from nls.data import images, load_images, store
from nls.data.images import Split, fingerprint
from nls.engine.vision import torchvision

FIRST = "/mnist/train-images-idx3-ubyte.gz"


def fetch(root: Path, mirror: object, name: str = "mnist") -> int:
    return main(["data", "fetch", name, "--root", str(root), "--mirror", str(mirror)])


def fetch_official(root: Path, monkeypatch: pytest.MonkeyPatch, *addresses: str) -> int:
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"{address}/mnist/" for address in addresses])
    monkeypatch.delenv("NLS_MIRROR", raising=False)
    return main(["data", "fetch", "mnist", "--root", str(root)])


def the_error(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.endswith("; trying again")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("nls: ")
    return lines[0]


def check_complete(root: Path, archives: Archives) -> None:
    assert load_images("mnist", root).fingerprint == archives.fingerprint
    # What the receipt says is true of the arrays, not only of the files.
    data = load_images("mnist", root)
    assert fingerprint(data.test) == archives.fingerprint["test"]
    assert not list((root / ".fetch" / "mnist").iterdir())


def check_absent(root: Path) -> None:
    assert not (root / "mnist").exists()
    assert fetched_files(root) == set()


def fetched_files(root: Path) -> set[str]:
    return {path.name for path in root.rglob("*.npy")} | {path.name for path in root.rglob("complete.json")}


def test_a_server_is_a_mirror_and_a_second_fetch_asks_for_nothing(serve, archives, tmp_path, capsys):
    server = serve(archives.mirror)
    assert fetch(tmp_path / "data", server.address) == 0
    check_complete(tmp_path / "data", archives)
    assert [path for path, _ in server.requests] == [f"/mnist/{name}" for name in archives.names]

    before = (tmp_path / "data/mnist/complete.json").read_bytes()
    assert fetch(tmp_path / "data", server.address) == 0
    assert len(server.requests) == 4
    assert (tmp_path / "data/mnist/complete.json").read_bytes() == before


def test_a_folder_is_a_mirror_also_by_environment_variable(archives, tmp_path, monkeypatch):
    monkeypatch.setenv("NLS_MIRROR", str(archives.mirror))
    assert main(["data", "fetch", "mnist", "--root", str(tmp_path / "data")]) == 0
    check_complete(tmp_path / "data", archives)


def test_a_transfer_cut_half_way_goes_on_from_there(serve, official_archives, tmp_path, monkeypatch):
    server = serve(official_archives.mirror)
    server.rules[FIRST] = ["cut"]
    assert fetch_official(tmp_path / "data", monkeypatch, server.address) == 0
    check_complete(tmp_path / "data", official_archives)
    half = (official_archives.mirror / FIRST[1:]).stat().st_size // 2
    assert server.requests[:2] == [(FIRST, None), (FIRST, f"bytes={half}-")]
    assert server.sent == official_archives.size  # no byte twice


def test_a_transfer_always_cut_fails_and_the_next_call_goes_on(
    serve, archives, tmp_path, monkeypatch, capsys
):
    server = serve(archives.mirror)
    server.rules[FIRST] = ["cut"] * 3
    assert fetch_official(tmp_path / "data", monkeypatch, server.address) == 2
    error = the_error(capsys)
    assert "train-images-idx3-ubyte.gz" in error
    assert "broke off" in error
    assert "--mirror" in error
    check_absent(tmp_path / "data")

    assert fetch_official(tmp_path / "data", monkeypatch, server.address) == 0
    check_complete(tmp_path / "data", archives)
    assert server.sent == archives.size


def test_wrong_bytes_of_the_right_length_are_refused(serve, archives, tmp_path, monkeypatch, capsys):
    server = serve(archives.mirror)
    server.rules[FIRST] = ["wrong"]
    assert fetch_official(tmp_path / "data", monkeypatch, server.address) == 2
    assert "wrong content (MD5)" in the_error(capsys)
    check_absent(tmp_path / "data")


def test_wrong_bytes_then_a_good_second_address(serve, archives, tmp_path, monkeypatch):
    bad, good = serve(archives.mirror), serve(archives.mirror)
    bad.rules[FIRST] = ["wrong"]
    assert fetch_official(tmp_path / "data", monkeypatch, bad.address, good.address) == 0
    check_complete(tmp_path / "data", archives)


def test_a_wrong_beginning_is_found_out_and_fetched_anew(serve, archives, tmp_path, monkeypatch):
    part = tmp_path / "data/.fetch/mnist/scratch/MNIST/raw/train-images-idx3-ubyte.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"from another file")
    server = serve(archives.mirror)
    assert fetch_official(tmp_path / "data", monkeypatch, server.address) == 0
    check_complete(tmp_path / "data", archives)
    assert server.requests[:2] == [(FIRST, "bytes=17-"), (FIRST, None)]


def test_404_then_a_good_second_address(serve, archives, tmp_path, monkeypatch):
    (tmp_path / "nothing").mkdir()
    bad, good = serve(tmp_path / "nothing"), serve(archives.mirror)
    assert fetch_official(tmp_path / "data", monkeypatch, bad.address, good.address) == 0
    check_complete(tmp_path / "data", archives)
    assert len(bad.requests) == 4  # a 404 is not asked twice


@pytest.mark.usefixtures("impatient")
def test_a_hanging_connection_times_out_and_the_next_address_serves(
    serve, archives, tmp_path, monkeypatch, capsys
):
    bad, good = serve(archives.mirror), serve(archives.mirror)
    bad.rules = {f"/mnist/{name}": ["hang"] * 9 for name in archives.names[:1]}
    assert fetch_official(tmp_path / "data", monkeypatch, bad.address) == 2
    assert "timed out" in the_error(capsys)
    check_absent(tmp_path / "data")
    assert fetch_official(tmp_path / "data", monkeypatch, bad.address, good.address) == 0
    check_complete(tmp_path / "data", archives)


@pytest.mark.parametrize("rule", ["no range", "other range"])
def test_a_server_that_does_not_honour_ranges_starts_over(serve, archives, tmp_path, monkeypatch, rule):
    server = serve(archives.mirror)
    server.rules[FIRST] = ["cut", rule]
    assert fetch_official(tmp_path / "data", monkeypatch, server.address) == 0
    check_complete(tmp_path / "data", archives)


def test_a_partial_file_longer_than_the_file_starts_over(serve, archives, tmp_path, monkeypatch):
    part = tmp_path / "data/.fetch/mnist/scratch/MNIST/raw/train-images-idx3-ubyte.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes((archives.mirror / FIRST[1:]).stat().st_size + 1))
    server = serve(archives.mirror)
    assert fetch_official(tmp_path / "data", monkeypatch, server.address) == 0
    check_complete(tmp_path / "data", archives)


def test_nobody_there(tmp_path, monkeypatch, capsys):
    assert fetch_official(tmp_path / "data", monkeypatch, "http://127.0.0.1:9") == 2
    error = the_error(capsys)
    assert "refused" in error
    assert "127.0.0.1:9" in error
    check_absent(tmp_path / "data")


class Child:
    """A process of its own that fetches; forked, so that it need not import torch again."""

    def __init__(self, root: Path, mirror: object, log: Path, file_limit: int | None = None) -> None:
        self.log = log

        def work() -> None:
            torch.set_num_threads(1)
            sys.stdout = sys.stderr = log.open("w", buffering=1)
            if file_limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
            os._exit(fetch(root, mirror))

        self.process = multiprocessing.get_context("fork").Process(target=work)
        self.process.start()

    def end(self) -> tuple[int | None, str]:
        self.process.join(60)
        return self.process.exitcode, self.log.read_text()


def test_two_processes_at_once_download_once(serve, archives, tmp_path):
    server = serve(archives.mirror)
    server.rules[f"/mnist/{archives.names[0]}"] = ["late"]
    both = [Child(tmp_path / "data", server.address, tmp_path / f"{k}.log") for k in range(2)]
    while not any(
        "waiting for another process" in child.log.read_text() for child in both if child.log.exists()
    ):
        assert all(child.process.is_alive() for child in both)
        time.sleep(0.02)
    server.released.set()
    ends = [child.end() for child in both]
    assert [code for code, _ in ends] == [0, 0], ends
    assert sum("waiting for another process" in text for _, text in ends) == 1
    check_complete(tmp_path / "data", archives)
    assert len(server.requests) == 4


def test_a_killed_fetch_leaves_nothing_that_looks_whole_and_no_lock(serve, archives, tmp_path):
    server = serve(archives.mirror)
    last = f"/mnist/{archives.names[-1]}"
    server.rules[last] = ["hang"]
    child = Child(tmp_path / "data", server.address, tmp_path / "log")
    while (last, None) not in server.requests:
        assert child.process.is_alive(), child.end()
        time.sleep(0.02)
    child.process.kill()
    child.end()
    check_absent(tmp_path / "data")

    assert fetch(tmp_path / "data", server.address) == 0
    check_complete(tmp_path / "data", archives)
    assert len(server.requests) == 5  # the three archives that were whole were kept


@pytest.mark.parametrize("limit", [1 << 12, 1 << 15])
def test_a_disk_that_takes_no_more(archives, tmp_path, limit):
    # A limit on a file's size gives a real write error, where the archives come in or where the arrays go out.
    code, text = Child(tmp_path / "data", archives.mirror, tmp_path / "log", limit).end()
    assert code == 2, text
    assert text == f"nls: no space left for {tmp_path}/data/mnist: free some space or choose another --root\n"
    check_absent(tmp_path / "data")
    assert not (tmp_path / "data/.fetch/mnist").exists()
    assert fetch(tmp_path / "data", archives.mirror) == 0
    check_complete(tmp_path / "data", archives)


def test_a_full_disk_leaves_the_damaged_copy_as_it_was(archives, tmp_path, capsys):
    root = tmp_path / "data"
    assert fetch(root, archives.mirror) == 0
    (root / "mnist/test_labels.npy").unlink()
    before = {path: path.read_bytes() for path in (root / "mnist").iterdir()}
    code, text = Child(root, archives.mirror, tmp_path / "log", 1 << 12).end()
    assert code == 2, text
    assert {path: path.read_bytes() for path in (root / "mnist").iterdir()} == before


def test_a_flipped_bit_is_found_and_mended(archives, tmp_path, capsys):
    root = tmp_path / "data"
    assert fetch(root, archives.mirror) == 0
    file = root / "mnist/train_images.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert fetch(root, archives.mirror) == 0
    assert "building it anew" in capsys.readouterr().err
    check_complete(root, archives)
    assert fingerprint(load_images("mnist", root).train) == archives.fingerprint["train"]


def test_a_missing_file_is_not_a_dataset(archives, tmp_path, capsys):
    assert fetch(tmp_path / "data", archives.mirror) == 0
    (tmp_path / "data/mnist/complete.json").unlink()
    with pytest.raises(store.UserError, match="nls data fetch mnist --root"):
        load_images("mnist", tmp_path / "data")
    assert fetch(tmp_path / "data", archives.mirror) == 0
    check_complete(tmp_path / "data", archives)


def test_an_empty_folder_made_beforehand_is_no_obstacle(archives, tmp_path):
    (tmp_path / "data/mnist").mkdir(parents=True)  # as Snakemake does for a declared output
    assert fetch(tmp_path / "data", archives.mirror) == 0
    check_complete(tmp_path / "data", archives)


def test_a_mirror_folder_with_a_wrong_archive(archives, tmp_path, capsys):
    (archives.mirror / FIRST[1:]).write_bytes(b"no archive")
    assert fetch(tmp_path / "data", archives.mirror) == 2
    assert FIRST[1:] in the_error(capsys)
    check_absent(tmp_path / "data")


@pytest.mark.parametrize("by_http", [False, True])
def test_a_mirror_with_nothing_names_both_forms(serve, tmp_path, capsys, by_http):
    (tmp_path / "mirror").mkdir()
    mirror = serve(tmp_path / "mirror").address if by_http else tmp_path / "mirror"
    assert fetch(tmp_path / "data", mirror) == 2
    error = the_error(capsys)
    assert "mnist/train-images-idx3-ubyte.gz" in error
    assert "mnist.npz" in error
    check_absent(tmp_path / "data")


@pytest.mark.parametrize("by_http", [False, True])
def test_an_npz_serves_as_mirror_if_its_content_is_official(serve, tmp_path, monkeypatch, capsys, by_http):
    random = np.random.default_rng(1)
    arrays = {
        "x_train": random.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8),
        "y_train": np.arange(40, dtype=np.uint8) % 10,
        "x_test": random.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8),
        "y_test": np.arange(20, dtype=np.uint8) % 10,
    }
    (tmp_path / "mirror").mkdir()
    np.savez(tmp_path / "mirror/cifar10.npz", **arrays)
    mirror = serve(tmp_path / "mirror").address if by_http else tmp_path / "mirror"

    assert fetch(tmp_path / "data", mirror, "cifar10") == 2
    assert "not the official ones" in the_error(capsys)
    assert fetched_files(tmp_path / "data") == set()

    prints = {
        split: fingerprint(
            Split(arrays[f"x_{split}"].transpose(0, 3, 1, 2), arrays[f"y_{split}"].astype(np.int64))
        )
        for split in ("train", "test")
    }
    monkeypatch.setattr(images, "KNOWN_FINGERPRINTS", {"cifar10": prints})
    assert fetch(tmp_path / "data", mirror, "cifar10") == 0
    data = load_images("cifar10", tmp_path / "data")
    assert data.train.images.shape == (40, 3, 32, 32)
    np.testing.assert_array_equal(data.test.images, arrays["x_test"].transpose(0, 3, 1, 2))


def test_cifar10_from_its_own_archive(tmp_path, monkeypatch):
    """A small archive in CIFAR-10's format goes through torchvision's class, its sums and its decoder."""
    random = np.random.default_rng(2)
    batches, rows = {}, {}
    for name in [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]:
        data = random.integers(0, 256, (10, 3072), dtype=np.uint8)
        rows[name] = data
        batches[name] = pickle.dumps({"data": data, "labels": list(range(10))})
    batches["batches.meta"] = pickle.dumps({"label_names": [f"class {k}" for k in range(10)]})
    archive = tmp_path / "mirror/cifar10/cifar-10-python.tar.gz"
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in batches.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    kind = torchvision.datasets.CIFAR10
    sums = {name: hashlib.md5(content).hexdigest() for name, content in batches.items()}
    monkeypatch.setattr(kind, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    monkeypatch.setattr(
        kind, "train_list", [[f"data_batch_{k}", sums[f"data_batch_{k}"]] for k in range(1, 6)]
    )
    monkeypatch.setattr(kind, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": sums["batches.meta"]})
    monkeypatch.setattr(images, "KNOWN_FINGERPRINTS", {})

    assert fetch(tmp_path / "data", tmp_path / "mirror", "cifar10") == 0
    data = load_images("cifar10", tmp_path / "data")
    expected = np.concatenate([rows[f"data_batch_{k}"] for k in range(1, 6)]).reshape(-1, 3, 32, 32)
    np.testing.assert_array_equal(data.train.images, expected)
    assert data.test.labels.tolist() == list(range(10))


def test_unwritable_root_and_unknown_name(tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    assert fetch(tmp_path / "file" / "data", tmp_path) == 2
    assert "cannot write" in the_error(capsys)
    assert fetch(tmp_path, tmp_path, "mnits") == 2
    assert "mnits" in the_error(capsys)
    assert main(["data", "fetch", "mnist", "--root", str(tmp_path), "--archive", "x.zip"]) == 2
    assert "--archive" in the_error(capsys)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_the_official_sets_verify_and_load_fast(name, tmp_path, tmp_path_factory):
    mirror = SHARED
    if name == "cifar10":
        mirror = tmp_path / "mirror"
        subprocess.run(
            [sys.executable, SHARED / "unpack_cifar10.py", mirror], check=True, capture_output=True
        )
    assert fetch(tmp_path / "data", mirror, name) == 0
    known = json.loads((SHARED / "fingerprints.json").read_text())[name]
    data = load_images(name, tmp_path / "data")
    assert data.fingerprint == known
    assert {split: fingerprint(getattr(data, split)) for split in known} == known
    assert (len(data.train.labels), len(data.test.labels), data.classes) == (
        (50_000 if name == "cifar10" else 60_000),
        10_000,
        10,
    )
