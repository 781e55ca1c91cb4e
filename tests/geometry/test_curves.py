import numpy as np
import pytest
import torch

from nls.errors import UserError
from nls.geometry.curves import curve_metrics, extract_curves, length, resample
from nls.geometry.octree import Grid


def circle(points):
    return torch.stack([points.norm(dim=1) - 0.7, points[:, 2] - 0.3 * points[:, 0]], dim=1)


def test_circle_as_one_closed_polyline():
    (curve,) = extract_curves(circle, Grid(60))
    np.testing.assert_array_equal(curve[0], curve[-1])
    assert length(curve) == pytest.approx(2 * np.pi * 0.7, rel=1e-3)
    np.testing.assert_allclose(np.linalg.norm(curve, axis=1), 0.7, atol=1e-5)
    steps = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    assert steps.max() < 2 * Grid(60).spacing


def test_helix_of_known_parametrisation():
    """The graph (cos ωz, sin ωz)/2 over z is an open curve from face to face of the grid."""

    def helix(points):
        x, y, z = points.T
        return torch.stack([x - 0.5 * torch.cos(4 * z), y - 0.5 * torch.sin(4 * z)], dim=1)

    grid = Grid(80)
    (curve,) = extract_curves(helix, grid)
    z = np.linspace(-1.1, 1.1, 5000)
    truth = np.stack([0.5 * np.cos(4 * z), 0.5 * np.sin(4 * z), z], axis=1)
    assert curve_metrics([curve], truth)["hausdorff"] < grid.spacing
    assert np.all(np.diff(curve[:, 2]) > 0) or np.all(np.diff(curve[:, 2]) < 0)


def test_two_circles_longest_first():
    def field(points):
        along = points[:, 2].abs() - 0.4
        return torch.stack([points.norm(dim=1) - 0.7 - 0.1 * points[:, 2], along], dim=1)

    curves = extract_curves(field, Grid(60))
    assert len(curves) == 2
    assert length(curves[0]) > length(curves[1])


def test_sheets_that_do_not_meet():
    with pytest.raises(UserError, match="do not meet"):
        extract_curves(lambda points: torch.stack([points[:, 0], points[:, 0] - 0.5], dim=1), Grid(40))


def test_resampling_is_even():
    corner = np.array([[0.0, 0, 0], [1, 0, 0], [1, 3, 0]])
    np.testing.assert_allclose(resample(corner, 5), [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 2, 0], [1, 3, 0]])
