import torch
from scipy.spatial import ConvexHull

from nls.geometry.hull import supporting_planes


def test_planes_hold_the_cloud_and_touch_it():
    points = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    directions, offsets = supporting_planes(points)
    beyond = points @ directions.T - offsets
    assert beyond.max() < 1e-5
    assert beyond.amax(dim=0).abs().max() < 1e-5


def test_distance_beyond_the_planes_is_at_most_that_to_the_hull_and_close_to_it():
    draws = torch.Generator().manual_seed(0)
    points = torch.randn(500, 3, generator=draws, dtype=torch.float64) * torch.tensor([1.0, 0.3, 0.2])
    queries = 4 * torch.randn(2000, 3, generator=draws, dtype=torch.float64)
    directions, offsets = supporting_planes(points)
    beyond = (queries @ directions.T - offsets).amax(dim=1)
    # Beyond one of the hull's own faces lies all that is outside of it; the faces give a lower bound as well.
    faces = torch.as_tensor(ConvexHull(points.numpy()).equations)
    nearest = torch.cdist(queries, points).amin(dim=1)
    assert (beyond <= nearest + 1e-9).all()
    exact = (queries @ faces[:, :3].T + faces[:, 3]).amax(dim=1)
    outside = exact > 0.1
    assert outside.sum() > 1000
    assert (beyond[exact <= 0] <= 1e-9).all()
    # How close depends on the angles between directions; here it is within 8.1% of the cloud's radius.
    assert (exact - beyond)[outside].max() < 0.081 * points.norm(dim=1).max()


def test_a_flat_cloud_has_planes_too():
    flat = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    directions, offsets = supporting_planes(flat)
    beyond = (torch.tensor([[0.2, 0.2, 0.5]]) @ directions.T - offsets).amax()
    assert 0.49 < beyond <= 0.5
