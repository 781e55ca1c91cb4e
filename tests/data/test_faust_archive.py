"""FAUST from what its site gives: a zip, a tar or a folder, whole or not."""

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nls.cli import main
from nls.data import load_scans, read_points, write_ply
from nls.errors import UserError

NUMBERS = (0, 1, 7)


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """A small folder in FAUST's layout, with the pictures and texts that lie beside the scans."""
    folder = tmp_path / "given/MPI-FAUST"
    random = np.random.default_rng(0)
    for number in NUMBERS:
        training = folder / "training"
        write_ply(training / f"scans/tr_scan_{number:03d}.ply", random.normal(size=(30, 3)))
        write_ply(training / f"registrations/tr_reg_{number:03d}.ply", random.normal(size=(9, 3)))
        (training / f"scans/tr_scan_{number:03d}.png").write_bytes(b"picture")
    write_ply(folder / "test/scans/test_scan_000.ply", random.normal(size=(5, 3)))
    return folder


def packed(folder: Path, form: str, climbing: str | None = None) -> Path:
    files = {
        str(p.relative_to(folder.parent)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }
    if climbing is not None:
        files[climbing] = b"climbed"
    archive = folder.parent / f"MPI-FAUST.{form}"
    if form == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name, content in files.items():
                zipped.writestr(name, content)
    else:
        with tarfile.open(archive, f"w:{form.removeprefix('tar.')}") as tarred:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tarred.addfile(member, io.BytesIO(content))
    return archive


def fetch(root: Path, archive: Path | None) -> int:
    given = [] if archive is None else ["--archive", str(archive)]
    return main(["data", "fetch", "faust", "--root", str(root), *given])


def the_error(capsys: pytest.CaptureFixture[str], root: Path) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert not (root / "faust").exists()
    return lines[0]


@pytest.mark.parametrize("form", ["folder", "zip", "tar.gz", "inner folder"])
def test_scans_and_registrations_are_laid_out(unpacked, tmp_path, form):
    archive = {"folder": unpacked, "inner folder": unpacked.parent}.get(form) or packed(unpacked, form)
    assert fetch(tmp_path / "data", archive) == 0
    pairs = load_scans(tmp_path / "data", "faust")
    assert [pair.name for pair in pairs] == ["000", "001", "007"]
    for pair in pairs:
        for path in (pair.scan, pair.registration):
            original = unpacked / path.relative_to(tmp_path / "data/faust/MPI-FAUST")
            np.testing.assert_array_equal(read_points(path), read_points(original))
    assert not list((tmp_path / "data/faust").rglob("*.png"))
    assert fetch(tmp_path / "data", None) == 0  # complete: nothing more is needed


def test_without_the_archive_one_line_says_what_to_do(tmp_path, capsys):
    assert fetch(tmp_path / "data", None) == 2
    error = the_error(capsys, tmp_path / "data")
    assert "register at https://" in error
    assert f"nls data fetch faust --root {tmp_path / 'data'} --archive" in error
    with pytest.raises(UserError, match="nls data fetch faust"):
        load_scans(tmp_path / "data", "faust")
    with pytest.raises(UserError, match="bodies, faust"):
        load_scans(tmp_path / "data", "mnist")


@pytest.mark.parametrize(
    "climbing", ["../climbed.ply", "MPI-FAUST/../../climbed.ply", "/tmp/climbed.ply", "..\\c"]
)
@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_a_path_that_climbs_out_is_refused(unpacked, tmp_path, capsys, form, climbing):
    archive = packed(unpacked, form, climbing)
    before = set(tmp_path.rglob("*"))
    assert fetch(tmp_path / "data", archive) == 2
    error = the_error(capsys, tmp_path / "data")
    assert str(archive) in error
    assert "climbs out" in error
    assert {
        path for path in set(tmp_path.rglob("*")) - before if path.is_file() and path.suffix != ".lock"
    } == set()


def test_a_link_in_a_tar_is_not_followed(unpacked, tmp_path, capsys):
    secret = tmp_path / "secret.ply"
    write_ply(secret, np.ones((3, 3)))
    (unpacked / "training/scans/tr_scan_001.ply").unlink()
    archive = packed(unpacked, "tar.gz")
    with tarfile.open(archive, "w") as tarred:
        tarred.add(unpacked, "MPI-FAUST")
        link = tarfile.TarInfo("MPI-FAUST/training/scans/tr_scan_001.ply")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        tarred.addfile(link)
    assert fetch(tmp_path / "data", archive) == 0
    assert [pair.name for pair in load_scans(tmp_path / "data", "faust")] == ["000", "007"]


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_a_damaged_archive_is_refused(unpacked, tmp_path, capsys, form):
    archive = packed(unpacked, form)
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    assert fetch(tmp_path / "data", archive) == 2
    assert str(archive) in the_error(capsys, tmp_path / "data")


def test_a_flipped_byte_in_a_zip_is_found(unpacked, tmp_path, capsys):
    archive = packed(unpacked, "zip")
    content = bytearray(archive.read_bytes())
    place = content.index(b"tr_scan_007.ply") + 60
    content[place] ^= 0xFF
    archive.write_bytes(content)
    assert fetch(tmp_path / "data", archive) == 2
    assert "damaged" in the_error(capsys, tmp_path / "data")


@pytest.mark.parametrize("form", ["tar.gz", "tar.bz2", "tar.xz"])
def test_a_flipped_byte_in_a_compressed_tar_is_found(unpacked, tmp_path, capsys, form):
    (unpacked / "noise").write_bytes(np.random.default_rng(0).bytes(3_000_000))  # more than a block of bzip2
    archive = packed(unpacked, form)
    content = bytearray(archive.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    archive.write_bytes(content)
    assert fetch(tmp_path / "data", archive) == 2
    assert "is damaged" in the_error(capsys, tmp_path / "data")


def test_a_bad_scan_inside_is_named(unpacked, tmp_path, capsys):
    points = np.zeros((4, 3))
    points[2] = np.nan
    write_ply(unpacked / "training/scans/tr_scan_007.ply", points)
    archive = packed(unpacked, "zip")
    assert fetch(tmp_path / "data", archive) == 2
    error = the_error(capsys, tmp_path / "data")
    assert "training/scans/tr_scan_007.ply" in error
    assert str(archive) in error
    assert "not finite" in error
    assert ".fetch" not in error


def test_a_scan_without_registration_is_named(unpacked, tmp_path, capsys):
    (unpacked / "training/registrations/tr_reg_001.ply").unlink()
    assert fetch(tmp_path / "data", unpacked) == 2
    assert "tr_reg_001.ply" in the_error(capsys, tmp_path / "data")


def test_what_is_not_faust_is_refused(unpacked, tmp_path, capsys):
    (tmp_path / "note.txt").write_text("no archive")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "note.txt", tmp_path / "nowhere.zip", tmp_path / "empty"):
        assert fetch(tmp_path / "data", path) == 2
        assert str(path) in the_error(capsys, tmp_path / "data")
    shutil.rmtree(unpacked / "training")
    assert fetch(tmp_path / "data", unpacked) == 2
    assert "tr_scan_NNN.ply" in the_error(capsys, tmp_path / "data")
