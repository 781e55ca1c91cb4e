import shutil

import matplotlib
import numpy as np
import pytest
from made_up import finish
from matplotlib.colors import to_rgba

from nls.reporting import figure1
from nls.reporting.runs import Evidence
from nls.reporting.style import LIGHT_BLUE, LIGHT_RED

matplotlib.use("Agg")


@pytest.mark.parametrize(("value", "colour"), [(-0.5, LIGHT_RED), (0.5, LIGHT_BLUE)])
def test_a_field_of_one_sign_has_the_colour_of_its_class_everywhere(tmp_path, value, colour):
    spec = {"experiment": "figure1", "run": "cross_entropy", "panel": "cross_entropy"}
    directory = tmp_path / "tiny/figure1/cross_entropy"
    for path in (directory, tmp_path / "tiny/specs/figure1"):
        path.mkdir(parents=True)
    np.savez(
        directory / "panel.npz",
        **{"field": np.full((4, 4), value), "points": np.eye(2), "labels": [-1, 1], "half_width": 1.0},
    )
    finish(directory, spec, {"eps": None, "smallest_margin_linf": None, "smallest_margin_l2": None})
    shutil.copy(directory / "spec.yaml", tmp_path / "tiny/specs/figure1/cross_entropy.yaml")
    axis = figure1.figure(Evidence("tiny", tmp_path)).axes[0]
    ground = axis.collections[0]
    np.testing.assert_allclose(ground.to_rgba(ground.get_array().ravel()), [to_rgba(colour)] * 16)
    assert "no boundary in the square" in axis.get_xlabel()
