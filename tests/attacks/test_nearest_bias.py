import pytest
import torch

from nls.attacks.nearest import nearest_beyond


@pytest.mark.parametrize(
    ("start", "bias", "on_plane"),
    [
        ([0.5, 0.4], 0.1, [0.35, 0.25]),  # 0.15 from the plane, the image 0.2: more than a tenth
        ([0.32, 0.3], 0.01 / 0.21, [0.31, 0.29]),
    ],
)
def test_a_step_is_drawn_towards_the_point_of_the_plane_nearest_to_the_image(start, bias, on_plane):
    """One step onto x₁ + x₂ = 0.6 from a start beside the image (0.5, 0.5), whose nearest point is (0.3, 0.3)."""
    image, start, on_plane = torch.full((1, 2), 0.5), torch.tensor([start]), torch.tensor([on_plane])
    found = nearest_beyond(lambda points: points.sum(dim=1) - 0.6, image, start, steps=1)
    own = start + 1.05 * (on_plane - start)
    of_image = image + 1.05 * (torch.full((1, 2), 0.3) - image)
    torch.testing.assert_close(found.points, (1 - bias) * own + bias * of_image)
