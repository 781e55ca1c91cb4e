import numpy as np
import pytest
from scipy.spatial import cKDTree

from nls.cli import main
from nls.data import load_curves
from nls.data.curves import SAMPLES, Curve
from nls.errors import UserError


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Curve]:
    root = tmp_path_factory.mktemp("curves")
    assert main(["data", "fetch", "curves", "--root", str(root)]) == 0
    return {curve.name: curve for curve in load_curves(root)}


def widest_gap(curve: Curve) -> float:
    """The longest stretch of the curve without a sample, as a fraction of its length."""
    steps = np.linalg.norm(np.diff(curve.truth, axis=0), axis=1)
    length = np.concatenate([[0], np.cumsum(steps)]) / steps.sum()
    where = np.sort(length[cKDTree(curve.truth).query(curve.points)[1]])
    ends = [where[0] + 1] if curve.closed else [1.0]
    return float(np.diff(np.concatenate([[] if curve.closed else [0.0], where, ends])).max())


def test_there_are_closed_and_open_curves_of_every_kind(curves):
    kinds = ("clean", "noise", "large_noise", "partial")
    assert set(curves) == {f"{form}_{kind}" for form in ("closed", "open") for kind in kinds}
    for curve in curves.values():
        assert curve.closed == curve.name.startswith("closed")
        assert curve.points.shape == (SAMPLES, 3)
        assert np.abs(curve.truth).max() < 1
        assert bool(np.allclose(curve.truth[0], curve.truth[-1])) == curve.closed
        assert np.linalg.norm(np.diff(curve.truth, axis=0), axis=1).max() < 0.01


def test_closed_curves_are_smooth_where_they_close(curves):
    steps = np.diff(curves["closed_clean"].truth, axis=0)
    directions = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    assert directions[0] @ directions[-1] > 0.999


@pytest.mark.parametrize("form", ["closed", "open"])
def test_curves_do_not_touch_themselves(curves, form):
    truth = curves[f"{form}_clean"].truth
    n = len(truth)
    near = cKDTree(truth).query_pairs(0.15, output_type="ndarray")
    apart = np.abs(near[:, 0] - near[:, 1])
    if form == "closed":
        apart = np.minimum(apart, n - apart)
    assert apart.max() < n // 6


@pytest.mark.parametrize("form", ["closed", "open"])
def test_noise_has_the_stated_size(curves, form):
    # Two of three coordinates of the noise move a point off the curve: the mean square distance is 2σ².
    for kind, sigma in (("clean", 0.0), ("noise", 0.01), ("large_noise", 0.05), ("partial", 0.01)):
        curve = curves[f"{form}_{kind}"]
        rms = np.sqrt(np.mean(cKDTree(curve.truth).query(curve.points)[0] ** 2))
        assert rms == pytest.approx(sigma * np.sqrt(2), rel=0.25, abs=2e-3)


@pytest.mark.parametrize("form", ["closed", "open"])
def test_samples_are_even_and_the_partial_curve_lacks_a_quarter(curves, form):
    assert widest_gap(curves[f"{form}_clean"]) < 0.012
    assert widest_gap(curves[f"{form}_partial"]) == pytest.approx(0.25, abs=0.03)


def test_the_partial_open_curve_keeps_its_ends(curves):
    curve = curves["open_partial"]
    for end in (curve.truth[0], curve.truth[-1]):
        assert np.linalg.norm(curve.points - end, axis=1).min() < 0.05


def test_seeded(tmp_path):
    receipts = []
    for k in range(2):
        assert main(["data", "fetch", "curves", "--root", str(tmp_path / str(k))]) == 0
        receipts.append((tmp_path / str(k) / "curves/complete.json").read_bytes())
    assert receipts[0] == receipts[1]  # the receipt lists every file's sum


def test_not_fetched(tmp_path):
    with pytest.raises(UserError, match="nls data fetch curves"):
        load_curves(tmp_path)
