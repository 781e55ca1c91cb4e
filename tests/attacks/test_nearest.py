import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from nls.attacks.nearest import nearest_beyond, step_to_plane


def draw(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seed=st.integers(0, 10**6), size=st.integers(1, 6))
def test_the_step_is_the_linear_programs(seed, size):
    points, gradient = draw(seed, 1, size), 2 * draw(seed + 1, 1, size) - 1
    # A plane through a point of the box, so that it can be reached.
    other = draw(seed + 2, 1, size)
    value = (gradient * (points - other)).sum(dim=1)
    step = step_to_plane(points, gradient, value)
    assert (value + (gradient * step).sum(dim=1)).abs() < 1e-12
    assert ((points + step) >= -1e-12).all()
    assert ((points + step) <= 1 + 1e-12).all()
    # minimise t with −t ≤ s_i ≤ t, g·s = −value, 0 ≤ x + s ≤ 1
    wall = np.block([[np.eye(size), -np.ones((size, 1))], [-np.eye(size), -np.ones((size, 1))]])
    bounds = [(-x, 1 - x) for x in points[0].tolist()] + [(0, None)]
    best = linprog(
        [0] * size + [1],
        A_ub=wall,
        b_ub=np.zeros(2 * size),
        A_eq=[[*gradient[0].tolist(), 0.0]],
        b_eq=[-float(value)],
        bounds=bounds,
    )
    assert float(step.abs().max()) == pytest.approx(best.fun, abs=1e-9)


def test_a_plane_outside_the_box_is_approached_as_far_as_it_goes():
    step = step_to_plane(torch.tensor([[0.2, 0.5]]), torch.tensor([[1.0, -1.0]]), torch.tensor([5.0]))
    torch.testing.assert_close(step, torch.tensor([[-0.2, 0.5]]))


def test_the_boundary_of_an_affine_field_is_found_at_its_distance():
    normal = torch.tensor([1.0, -2.0, 0.5, 0.0])
    images = 0.4 + 0.2 * draw(0, 8, 4).float()

    def field(points):
        return points @ normal + 0.6

    found = nearest_beyond(field, images, images, steps=10)
    exact = field(images) / normal.abs().sum()
    assert found.found.all()
    assert (field(found.points) < 0).all()
    assert (found.distances >= exact).all()
    torch.testing.assert_close(found.distances, exact, rtol=0.06, atol=0)


def test_where_nothing_is_negative_nothing_is_found():
    images = draw(1, 3, 4)
    found = nearest_beyond(lambda points: 1 + points.square().sum(dim=1), images, images, steps=3)
    assert not found.found.any()
    assert torch.equal(found.points, images)
