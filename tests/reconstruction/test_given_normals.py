import pytest
import torch

from nls.reconstruction.igr import Igr
from nls.reconstruction.session import UnsavedSession
from nls.reconstruction.training import Training


@pytest.mark.parametrize("side", [1, -1])
def test_igr_turns_normals_outwards(side):
    """The network starts near the distance of a sphere, whose gradient is the outward normal n: ‖n − (−n)‖ = 2."""
    torch.manual_seed(0)
    points = torch.nn.functional.normalize(torch.randn(200, 3), dim=1)
    method = Igr(width=64, depth=2, training=Training(steps=1, batch=100))
    session = UnsavedSession(torch.device("cpu"))
    found = method.oriented_surface(points, side * points, 16, 0, session)
    assert found.figures["normal"] < 0.5
