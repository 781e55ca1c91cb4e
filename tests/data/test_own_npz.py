"""Image sets of one's own, the fingerprint, and the digits."""

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nls.data import load_images
from nls.data.images import Split, fingerprint
from nls.data.npz import read_npz
from nls.errors import UserError

GOOD = {
    "x_train": np.arange(6 * 4 * 5 * 3).astype(np.uint8).reshape(6, 4, 5, 3),
    "y_train": np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8),
    "x_test": np.full((2, 4, 5, 3), 7, dtype=np.int64),
    "y_test": np.array([2, 0], dtype=np.int32),
}


def written(folder: Path, **changes: np.ndarray | None) -> Path:
    path = folder / "mine.npz"
    np.savez(path, **{key: value for key, value in {**GOOD, **changes}.items() if value is not None})
    return path


def test_a_file_of_ones_own_is_a_dataset_by_its_path(tmp_path):
    data = load_images(str(written(tmp_path)), tmp_path / "data")
    assert (data.name, data.classes) == ("mine", 3)
    assert isinstance(data.train.images, np.memmap)
    assert (data.train.images.dtype, data.train.labels.dtype) == (np.uint8, np.int64)
    np.testing.assert_array_equal(data.train.images, GOOD["x_train"].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(data.test.labels, [2, 0])
    # The fingerprint, worked out by its definition.
    # The file holds H × W × C, as the definition wants it: image k is the bytes 60 k to 60 k + 59.
    parts = sorted(
        hashlib.sha256(bytes(n % 256 for n in range(60 * k, 60 * k + 60)) + bytes([k % 3])).digest()
        for k in range(6)
    )
    assert data.fingerprint["train"] == hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.mark.filterwarnings("error")
def test_torch_takes_the_images_and_cannot_write_to_the_file(tmp_path):
    path = str(written(tmp_path))
    torch.from_numpy(load_images(path, tmp_path).train.images).zero_()
    np.testing.assert_array_equal(
        load_images(path, tmp_path).train.images, GOOD["x_train"].transpose(0, 3, 1, 2)
    )


def test_grey_images_come_with_or_without_a_channel(tmp_path):
    grey = GOOD["x_train"][..., 0], GOOD["x_test"][..., 0].astype(np.uint8)
    flat = load_images(str(written(tmp_path, x_train=grey[0], x_test=grey[1])), tmp_path)
    (tmp_path / "b").mkdir()
    one = load_images(
        str(written(tmp_path / "b", x_train=grey[0][..., None], x_test=grey[1][..., None])), tmp_path
    )
    assert flat.train.images.shape == one.train.images.shape == (6, 1, 4, 5)
    assert flat.fingerprint == one.fingerprint


def test_it_is_decoded_once_and_again_when_it_changes(tmp_path):
    path = written(tmp_path)
    first = load_images(str(path), tmp_path / "data")
    receipt = next((tmp_path / "data/.npz").glob("mine-*/complete.json"))
    made = receipt.stat().st_mtime_ns
    again = load_images(str(path), tmp_path / "data")
    assert again.fingerprint == first.fingerprint
    assert receipt.stat().st_mtime_ns == made

    time.sleep(0.01)
    written(tmp_path, y_test=np.array([1, 1]))
    os.utime(path)
    changed = load_images(str(path), tmp_path / "data")
    assert changed.test.labels.tolist() == [1, 1]
    assert changed.fingerprint["test"] != first.fingerprint["test"]
    # Whoever had the old content mapped still sees it.
    np.testing.assert_array_equal(first.train.images, GOOD["x_train"].transpose(0, 3, 1, 2))


def test_a_file_named_like_an_official_set_but_of_other_content_is_noted(tmp_path, capsys):
    path = written(tmp_path).rename(tmp_path / "cifar10.npz")
    assert load_images(str(path), tmp_path / "data").name == "cifar10"
    assert "note:" in capsys.readouterr().err


BAD = {
    "a missing array": (dict(y_test=None), "no array y_test"),
    "floats": (dict(x_train=GOOD["x_train"] / 255), "float64"),
    "black and almost black": (dict(x_train=(GOOD["x_train"] > 50).astype(np.uint8)), "no value above 1"),
    "objects": (dict(y_test=np.array([{}, {}])), "allow_pickle"),
    "values above 255": (dict(x_test=GOOD["x_test"] * 50), "0..255"),
    "negative labels": (dict(y_train=np.array([0, 1, 2, 0, 1, -1])), "-1"),
    "labels in two columns": (dict(y_train=GOOD["y_train"].reshape(3, 2)), r"\(3, 2\)"),
    "too few labels": (dict(y_train=GOOD["y_train"][:5]), "6 images in x_train but 5 labels"),
    "channels first": (dict(x_train=GOOD["x_train"].transpose(0, 3, 1, 2)), r"\(6, 3, 4, 5\)"),
    "no images": (dict(x_test=GOOD["x_test"][:0], y_test=GOOD["y_test"][:0]), "at least one"),
    "flat images": (dict(x_train=GOOD["x_train"].reshape(6, -1)), r"\(6, 60\)"),
    "other sizes in test": (dict(x_test=GOOD["x_test"][:, :3]), r"\(3, 3, 5\)"),
    "a test label nobody trains": (dict(y_test=np.array([0, 3])), "label 3"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays_are_named(tmp_path, case):
    changes, words = BAD[case]
    path = written(tmp_path, **changes)
    with pytest.raises(UserError, match=words) as error:
        load_images(str(path), tmp_path / "data")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "data").rglob("complete.json"))


def test_bad_files_are_named(tmp_path):
    flipped = bytearray(written(tmp_path).read_bytes())
    flipped[flipped.index(b"x_test.npy") + 300] ^= 1
    for name, content in {
        "empty": b"",
        "text": b"not a zip",
        "npy": b"\x93NUMPY\x01\x00",
        "cut": written(tmp_path).read_bytes()[:300],
        "flipped": flipped,
    }.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        with pytest.raises(UserError, match=str(path)):
            load_images(str(path), tmp_path)
    np.save(tmp_path / "array.npy", GOOD["x_train"])
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    with pytest.raises(UserError, match="savez"):
        load_images(str(tmp_path / "array.npz"), tmp_path)
    with pytest.raises(UserError, match="No such file"):
        load_images(str(tmp_path / "nowhere.npz"), tmp_path)
    with pytest.raises(UserError, match="unknown dataset 'mnits'"):
        load_images("mnits", tmp_path)


@given(
    images=hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 8), st.sampled_from([1, 3]), st.just(2), st.just(3))
    ),
    data=st.data(),
)
def test_the_fingerprint_ignores_order_and_sees_everything_else(images, data):
    n = len(images)
    labels = data.draw(hnp.arrays(np.int64, n, elements=st.integers(0, 255)))
    order = np.array(data.draw(st.permutations(range(n))))
    original = fingerprint(Split(images, labels))
    assert fingerprint(Split(images[order], labels[order])) == original

    which = data.draw(st.integers(0, images.size - 1))
    other = images.copy()
    other.reshape(-1)[which] ^= 1
    assert fingerprint(Split(other, labels)) != original
    relabelled = labels.copy()
    relabelled[which % n] ^= 1
    assert fingerprint(Split(images, relabelled)) != original


def test_digits_are_split_by_class_and_never_differently(tmp_path):
    from nls.cli import main

    direct = load_images("digits", tmp_path)
    assert direct.fingerprint == {
        "train": "a94132c60b3f41e504246300a25eab95c1e41c6b1870b17f950f544e519a2151",
        "test": "9b5a80db0da5cec1ec3b0c14bf4047f97a85f0067f33c969928b254a86438bf7",
    }
    every = np.bincount(np.concatenate([direct.train.labels, direct.test.labels]))
    np.testing.assert_allclose(np.bincount(direct.test.labels) / every, 0.2, atol=0.005)
    assert direct.train.images.max() == 255
    assert len(direct.train.labels) + len(direct.test.labels) == 1797

    assert main(["data", "fetch", "digits", "--root", str(tmp_path)]) == 0
    fetched = load_images("digits", tmp_path)
    assert isinstance(fetched.train.images, np.memmap)
    assert fetched.fingerprint == direct.fingerprint
    np.testing.assert_array_equal(fetched.test.images, direct.test.images)


def test_reading_gives_contiguous_channels_first(tmp_path):
    arrays = read_npz(written(tmp_path))
    assert arrays["x_train"].flags.c_contiguous
    assert arrays["x_train"].shape == (6, 3, 4, 5)
