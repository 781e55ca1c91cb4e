"""Folders of data sets, archives and mirrors: nothing of the user's is deleted, no byte is believed unseen."""

import gzip
import io
import json
import os
import shutil
import socket
import tarfile
import threading
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nls.cli import main
from nls.data import write_ply
from nls.data.images import Split, fingerprint

FETCH = ["data", "fetch", "digits", "--root", "data"]
RUN = ["run", "spec.yaml", "--out", "out"]
SPEC = """
suite: hostile
experiment: figure2
run: one
dataset: digits
fraction: 0.05
name: hinge
loss: hinge
loss_settings: {}
seeds: [0]
evaluate_on: test
training: {steps: 1}
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    assert main([*FETCH[:-1], str(folder / "data")]) == 0
    return folder / "data/digits"


@pytest.fixture
def fetched(digits, tmp_path, monkeypatch):
    """A folder in which the digits were fetched."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(digits, "data/digits")
    Path("spec.yaml").write_text(SPEC)
    return Path("data/digits")


def damage_receipt(folder):
    for name in ("complete.json", ".complete.json"):
        (folder / name).write_text('{"files": ')


# What stands in place of the folder, and what is told of it.
MINE = {
    "a photo": (lambda folder: (folder / "photo.jpg").write_text("mine"), ["holds photo.jpg"]),
    "a folder of photos": (lambda folder: write(folder / "a/b.jpg", b"mine"), ["holds a/b.jpg"]),
    "a hidden file": (lambda folder: (folder / ".mine").write_text("mine"), ["holds .mine"]),
    "a link": (lambda folder: (folder / "link").symlink_to("/etc/hosts"), ["holds link"]),
    "a broken link": (lambda folder: (folder / "link").symlink_to("nowhere"), ["holds link"]),
    "a pipe": (lambda folder: os.mkfifo(folder / "pipe"), ["holds pipe"]),
    "no receipt": (lambda folder: [(folder / name).unlink() for name in RECEIPTS], ["holds test_images.npy"]),
    "receipts cut": (damage_receipt, ["holds .complete.json"]),
    "receipts of nothing": (lambda folder: receipts(folder, {"files": None}), ["holds .complete.json"]),
    "receipts of a list": (lambda folder: receipts(folder, [1]), ["holds .complete.json"]),
    "receipts without sums": (
        lambda folder: receipts(folder, {"files": {"a": {}}}),
        ["holds .complete.json"],
    ),
}
RECEIPTS = ("complete.json", ".complete.json")


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def receipts(folder, content):
    for name in RECEIPTS:
        (folder / name).write_text(json.dumps(content))


@pytest.mark.parametrize("case", MINE)
def test_a_folder_with_a_users_files_is_not_replaced(refused, fetched, case):
    make, told = MINE[case]
    (fetched / "train_labels.npy").unlink(missing_ok=True)  # the set is to be made anew
    make(fetched)
    refused(FETCH, "data/digits", *told, "move it away")


def test_a_users_folder_of_the_name_is_not_replaced(refused, tmp_path):
    write(tmp_path / "data/digits/thesis.tex", b"mine")
    refused(FETCH, "data/digits holds thesis.tex")


def test_a_users_file_of_the_name_is_not_replaced(refused, tmp_path):
    write(tmp_path / "data/digits", b"mine")
    refused(FETCH, "data/digits", "no folder")


def test_a_linked_folder_is_used_where_it_is_whole_and_else_left(refused, fetched):
    fetched.rename("elsewhere")
    fetched.symlink_to("../elsewhere")
    assert main(FETCH) == 0
    assert fetched.is_symlink()
    Path("elsewhere/train_labels.npy").unlink()
    refused(FETCH, "data/digits", "no folder")


@pytest.mark.parametrize("gone", ["complete.json", ".complete.json", "train_labels.npy"])
def test_a_folder_of_ours_is_mended(fetched, gone):
    """Snakemake deletes the receipt, its declared output, before it lets the set be fetched again."""
    before = (fetched / "train_labels.npy").read_bytes()
    (fetched / gone).unlink()
    assert main(FETCH) == 0
    assert (fetched / "train_labels.npy").read_bytes() == before
    assert (fetched / "complete.json").exists()


def faust(folder):
    for path in ("scans/tr_scan_000.ply", "registrations/tr_reg_000.ply"):
        write_ply(folder / "MPI-FAUST/training" / path, np.random.default_rng(0).normal(size=(9, 3)))
    return folder


def packed(folder, target):
    with zipfile.ZipFile(target, "w") as file:
        for path in sorted(folder.rglob("*.ply")):
            file.write(path, path.relative_to(folder))
    return target


def test_an_archive_in_the_place_of_its_data_set_is_not_deleted(refused, tmp_path):
    faust(tmp_path / "given")
    (tmp_path / "A/faust").mkdir(parents=True)
    packed(tmp_path / "given", tmp_path / "A/faust/MPI-FAUST.zip")
    refused(["data", "fetch", "faust", "--archive", "A/faust/MPI-FAUST.zip", "--root", "A"], "MPI-FAUST.zip")


def test_unpacked_scans_in_the_place_of_their_data_set_are_not_deleted(refused, tmp_path):
    faust(tmp_path / "A/faust")
    refused(["data", "fetch", "faust", "--archive", "A/faust", "--root", "A"], "A/faust holds MPI-FAUST/")


def tar(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(*members, **options):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members:
            file.writestr(name, content, **options)
    return buffer.getvalue()


AXES = b"".join(b"property float %c\n" % axis for axis in b"xyz")
PLY = b"ply\nformat ascii 1.0\nelement vertex 1\n" + AXES + b"end_header\n0 0 0\n"
SCAN, REG = "MPI-FAUST/training/scans/tr_scan_000.ply", "MPI-FAUST/training/registrations/tr_reg_000.ply"
GOOD_TAR = tar((SCAN, PLY), (REG, PLY))


def changed(content, old, new):
    assert old in content
    return content.replace(old, new)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of a name that stands twice
    TWICE = zipped((SCAN, PLY), (SCAN, PLY.replace(b"0 0 0", b"1 1 1")), (REG, PLY))

ARCHIVES = {
    "empty": b"",
    "text": b"no archive" * 100,
    "an empty zip": b"PK\x05\x06" + bytes(18),
    "a zip, cut": zipped((SCAN, PLY), (REG, PLY))[:200],
    "a zip with a flipped bit": changed(zipped((SCAN, PLY), (REG, PLY)), b"0 0 0", b"0 1 0"),
    "a zip with one name twice": TWICE,
    "a zip that is encrypted": changed(
        changed(zipped((SCAN, PLY), (REG, PLY)), b"PK\x03\x04\x14\0\0\0", b"PK\x03\x04\x14\0\x01\0"),
        b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\x01\0"),
    "a tar with one name twice": tar((SCAN, PLY), (SCAN, PLY.replace(b"0 0 0", b"1 1 1")), (REG, PLY)),
    "a tar with two of one scan": tar((SCAN, PLY), (f"copy/{SCAN}", PLY), (REG, PLY)),
    "a tar, cut": GOOD_TAR[:700],
    "a tar of a broken gzip": gzip.compress(GOOD_TAR)[:-30],
    "a tar that climbs": tar((f"../{SCAN}", PLY), (SCAN, PLY), (REG, PLY)),
    "a scan that is empty": zipped((SCAN, b""), (REG, PLY)),
    "a scan of NaN": zipped((SCAN, PLY.replace(b"0 0 0", b"nan 0 0")), (REG, PLY)),
    "no registration": zipped((SCAN, PLY)),
    "another layout": zipped(("scans/a.ply", PLY)),
}  # fmt: skip


@pytest.mark.parametrize("case", ARCHIVES)
def test_an_archive_that_is_not_whole(refused, tmp_path, case):
    write(tmp_path / "a.zip", ARCHIVES[case])
    refused(["data", "fetch", "faust", "--archive", "a.zip", "--root", "data"], "a.zip")
    assert not (tmp_path / "data/faust").exists()


def image_set(count=30):
    images = np.arange(count * 64).astype(np.uint8).reshape(count, 8, 8)
    return {
        "x_train": images,
        "y_train": np.arange(count) % 10,
        "x_test": images,
        "y_test": np.arange(count) % 10,
    }


MIRRORS = {
    "no folder": lambda mirror: None,
    "an empty folder": lambda mirror: mirror.mkdir(),
    "an archive that is empty": lambda mirror: [write(mirror / "mnist" / name, b"") for name in MNIST],
    "archives of text": lambda mirror: [write(mirror / "mnist" / name, b"text") for name in MNIST],
    "an npz that is empty": lambda mirror: write(mirror / "mnist.npz", b""),
    "an npz of other images": lambda mirror: np.savez(mkdir(mirror) / "mnist.npz", **image_set()),
    "a folder for an npz": lambda mirror: (mirror / "mnist.npz").mkdir(parents=True),
}
MNIST = [
    f"{part}-ubyte.gz"
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
]


def mkdir(path):
    path.mkdir()
    return path


@pytest.mark.parametrize("case", MIRRORS)
def test_a_mirror_that_has_not_the_data_set(refused, tmp_path, case):
    MIRRORS[case](tmp_path / "mirror")
    refused(["data", "fetch", "mnist", "--root", "data", "--mirror", "mirror"], "mnist")
    assert not (tmp_path / "data/mnist").exists()


# What a server answers to each request.
ANSWERS = {
    "nothing": b"",
    "text": b"hello\r\n\r\n",
    "a length of letters": b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nbody",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nbody",
    "too long a length": b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\nbody",
    "a length of 5,000 digits": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nbody",
    "a status of letters": b"HTTP/1.1 ok\r\n\r\n",
    "status 500": b"HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n",
    "a redirection to itself": b"HTTP/1.1 302 go\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n",
    "a redirection to a file": b"HTTP/1.1 302 go\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
    "a broken chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nbody",
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n",
    "another content": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
}  # fmt: skip


@pytest.fixture
def answering():
    """Start a server that answers every request with the same bytes, and return its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def start(answer):
        def serve():
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.parametrize("case", ANSWERS)
def test_a_server_that_answers_badly(tmp_path, monkeypatch, capfd, answering, case):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nls.data.download.TIMEOUT", 0.5)
    assert main(["data", "fetch", "mnist", "--root", "data", "--mirror", answering(ANSWERS[case])]) == 2
    told = [line for line in capfd.readouterr().err.splitlines() if not line.endswith("trying again")]
    assert len(told) == 1
    assert "cannot download train-images-idx3-ubyte.gz" in told[0]
    assert not Path("data/mnist").exists()


@pytest.mark.parametrize(
    ("mirror", "told"),
    [
        ("http://", ["no host given"]),
        ("http://[", ["no valid address"]),
        ("http://127.0.0.1:99999", ["mnist"]),
        ("http://127.0.0.1:x", ["mnist"]),
        ("ftp://127.0.0.1/x", ["mirror ftp:"]),
        ("http://127.0.0.1:1/a b\nc", ["mnist"]),
        ("", ["mnist"]),
        ("a\0b", ["mnist"]),
    ],
)
def test_a_mirror_that_is_no_address(tmp_path, monkeypatch, capfd, mirror, told):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "fetch", "mnist", "--root", "data", "--mirror", mirror]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if not line.endswith("trying again")]
    assert len(lines) == 1
    for word in told:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["", "--root", "data"], ["unknown dataset ''"]),
        (["minst", "--root", "data"], ["unknown dataset 'minst'", "mnist"]),
        (["../x", "--root", "data"], ["unknown dataset '../x'"]),
        (["digits", "--root", "spec.yaml"], ["spec.yaml"]),
        (["digits", "--root", "/proc/x"], ["cannot write"]),
        (["digits", "--root", "x" * 300], ["too long"]),
        (["digits", "--root", "data", "--archive", "a.zip"], ["--archive is for faust"]),
        (["faust", "--root", "data"], ["register at"]),
        (["faust", "--root", "data", "--archive", "none.zip"], ["none.zip"]),
    ],
)
def test_a_fetch_that_cannot_be_meant(refused, tmp_path, words, told):
    write(tmp_path / "spec.yaml", SPEC.encode())
    refused(["data", "fetch", *words], *told)


def altered(path):
    content = bytearray(path.read_bytes())
    content[-100:] = bytes(100)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name", ["train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy"]
)
def test_data_altered_in_place_are_not_read(refused, fetched, name):
    altered(fetched / name)
    before = (fetched / name).read_bytes()
    refused(
        ["attack", "--model", "m.py:m", *ATTACK, "--dataset", "digits"],
        f"data/digits/{name}",
        "nls data fetch digits",
    )
    assert (fetched / name).read_bytes() == before


ATTACK = ["--weights", "w.pt", "--eps", "0.1", "--attacks", "pgd-xent", "--steps", "1", "--data-root", "data"]


MODEL = "from torch import nn\n\n\ndef m():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"


@pytest.fixture(autouse=True)
def model(tmp_path):
    import torch
    from torch import nn

    (tmp_path / "m.py").write_text(MODEL)
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).state_dict(), tmp_path / "w.pt")


def test_a_run_reads_no_altered_data(fetched, capfd):
    altered(fetched / "train_images.npy")
    assert main(RUN) == 2
    assert "is not what was fetched" in capfd.readouterr().err
    assert main(FETCH) == 0
    assert main(RUN) == 0
    assert "data" in json.loads(Path("out/provenance.json").read_text())


def test_a_copy_of_ones_own_set_that_was_altered_is_made_anew(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    np.savez("d.npz", **image_set())
    words = ["attack", "--model", "m.py:m", *ATTACK, "--dataset", "d.npz", "--json"]
    assert main(words) == 0
    first = json.loads(capfd.readouterr().out)
    altered(next(Path("data/.npz").glob("d-*")) / "test_images.npy")
    assert main(words) == 0
    assert json.loads(capfd.readouterr().out) == first
    images, labels = image_set()["x_test"][:, None], image_set()["y_test"]
    assert first["fingerprint"] == fingerprint(Split(images, labels))


@pytest.mark.parametrize("name", ["mesh.ply", "scan.ply"])
def test_scans_altered_in_place_are_not_read(tmp_path, monkeypatch, name):
    from nls.data import load_scans
    from nls.data.scans import registration_path, scan_path
    from nls.data.store import build
    from nls.errors import UserError

    def make(folder, scratch):
        for number in (0, 1):
            for path in (scan_path(folder, number), registration_path(folder, number)):
                write_ply(path, np.random.default_rng(number).normal(size=(9, 3)))
        return {}

    build(tmp_path, "bodies", {}, make)
    altered((scan_path if name == "scan.ply" else registration_path)(tmp_path / "bodies", 1))
    assert len(load_scans(tmp_path, "bodies", [0])) == 1
    for numbers in (None, [1]):
        with pytest.raises(UserError, match="is not what was fetched: run `nls data fetch bodies"):
            load_scans(tmp_path, "bodies", numbers)
