import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nls.geometry.neighbours import Neighbours, noise, spacing


@given(st.integers(1, 300), st.integers(1, 200), st.sampled_from([2, 3]), st.integers(0, 2**31))
def test_equals_all_pairs(points, queries, dimension, seed):
    draws = torch.Generator().manual_seed(seed)
    cloud = torch.randn(points, dimension, generator=draws)
    places = 3 * torch.randn(queries, dimension, generator=draws)
    pairs = (places[:, None] - cloud[None]).norm(dim=2)
    torch.testing.assert_close(Neighbours(cloud).distances(places), pairs.amin(dim=1))


@pytest.mark.parametrize(("points", "neighbours"), [(1, 5), (2, 1), (40, 1), (40, 39), (40, 50), (300, 50)])
def test_spacing_equals_that_of_all_pairs(points, neighbours):
    cloud = torch.randn(points, 3, generator=torch.Generator().manual_seed(points))
    pairs = (cloud[:, None] - cloud[None]).norm(dim=2).sort(dim=1).values
    expected = pairs[:, min(neighbours, points - 1)]
    torch.testing.assert_close(Neighbours(cloud).spacing(neighbours), expected)


def test_gradient_is_the_unit_vector_away_from_the_neighbour():
    cloud = torch.tensor([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]])
    places = torch.tensor([[1.0, 0.0, 0.0], [4.0, 3.0, 0.0], [4.0, 0.0, 0.0]], requires_grad=True)
    Neighbours(cloud).distances(places).sum().backward()
    torch.testing.assert_close(places.grad, torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))


def test_spacing_is_the_root_of_the_area_of_a_point():
    draws = torch.Generator().manual_seed(0)
    square = torch.rand(10_000, 3, generator=draws) * torch.tensor([2.0, 2.0, 0.0])
    assert spacing(square) == pytest.approx(0.02, rel=0.1)
    assert spacing(square.repeat(10, 1)) == spacing(square)


@pytest.mark.parametrize("deviation", [0.002, 0.01])
def test_noise_is_the_deviation_from_a_sphere_whatever_the_scale_and_the_outliers(deviation):
    draws = torch.Generator().manual_seed(0)
    sphere = torch.nn.functional.normalize(torch.randn(20_000, 3, generator=draws), dim=1)  # spacing 0.025
    cloud = sphere * (1 + deviation * torch.randn(20_000, 1, generator=draws))
    assert noise(cloud) == pytest.approx(deviation, rel=0.1)
    assert noise(1000 * cloud + 5000) == pytest.approx(1000 * noise(cloud), rel=1e-3)
    assert noise(cloud.repeat(2, 1)) == noise(cloud)
    strays = 3 * torch.rand(2000, 3, generator=draws) - 1.5
    assert noise(torch.cat([cloud, strays])) == pytest.approx(noise(cloud), rel=0.1)


def test_a_surface_that_is_curved_and_exact_has_no_noise():
    plane = torch.rand(5000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    saddle = torch.column_stack([plane, plane[:, :1] * plane[:, 1:]])
    assert noise(saddle) < 1e-3 * spacing(saddle)
    sphere = torch.nn.functional.normalize(
        torch.randn(5000, 3, generator=torch.Generator().manual_seed(0)), dim=1
    )
    assert noise(sphere) < 0.02 * spacing(sphere)


def test_noise_of_fewer_points_than_a_quadratic_surface_takes_is_a_number():
    assert noise(torch.eye(3)) == pytest.approx(0)


def test_a_query_that_is_not_finite_is_at_no_distance():
    queries = torch.tensor([[0.0, 0.0], [torch.nan, 0.0], [torch.inf, 0.0]])
    distances = Neighbours(torch.zeros(1, 2)).distances(queries)
    assert torch.equal(distances.isfinite(), torch.tensor([True, False, False]))
