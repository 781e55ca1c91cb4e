import numpy as np
import pytest

from nls.geometry.curves import curve_metrics


def test_of_several_polylines_each_counts_by_its_length():
    """Four fifths of the length lie on the truth, one fifth is 1 away from it."""
    truth = np.array([[0.0, 0, 0], [4, 0, 0]])
    stray = np.array([[0.0, 1, 0], [1, 1, 0]])
    found = curve_metrics([truth, stray], truth)
    assert found["to_truth"] == pytest.approx(1 / 5, abs=1e-3)
    assert found["from_truth"] == pytest.approx(0, abs=1e-3)
    assert found["hausdorff"] == pytest.approx(1)
