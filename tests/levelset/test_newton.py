import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nls.levelset import minimal_norm_solution, project, pseudo_inverse
from nls.levelset.newton import approach
from nls.networks.mlp import mlp


@given(
    outputs=st.integers(1, 3),
    count=st.integers(1, 6),
    shape=st.sampled_from([(5,), (1, 3, 2)]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 100),
)
def test_projection_onto_an_affine_level_set_is_orthogonal(outputs, count, shape, dtype, seed):
    """Lemma 1, for any level."""
    torch.manual_seed(seed)
    matrix = torch.linalg.qr(torch.randn(5 if len(shape) == 1 else 6, outputs, dtype=torch.float64)).Q.T
    matrix = (torch.diag(torch.arange(1.0, outputs + 1, dtype=torch.float64)) @ matrix).to(dtype)
    offset, level = torch.randn(outputs, dtype=dtype), torch.randn(count, outputs, dtype=dtype)
    points = torch.randn(count, *shape, dtype=dtype)

    found = project(lambda x: x.flatten(1) @ matrix.T + offset, points, level)

    residual = points.flatten(1) @ matrix.T + offset - level
    expected = points.flatten(1) - residual @ torch.linalg.pinv(matrix).T
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(found.points.flatten(1), expected, atol=tolerance, rtol=tolerance)
    assert found.points.shape == points.shape
    assert found.converged.all()


def test_a_circle_is_reached_from_both_sides():
    points = torch.tensor([[2.0, 0.0], [0.3, 0.4], [-0.1, -0.2]], dtype=torch.float64)
    found = project(lambda x: x.square().sum(dim=1) - 1, points, tolerance=1e-12)
    torch.testing.assert_close(found.points.norm(dim=1), torch.ones(3, dtype=torch.float64))
    assert found.converged.all()
    torch.testing.assert_close(found.jacobian[:, 0], 2 * found.points)


def test_points_that_do_not_converge_keep_the_level_they_reached():
    points = torch.tensor([[3.0], [0.5]], dtype=torch.float64)
    found = project(lambda x: x[:, 0].square() + 1, points, max_iterations=4)
    assert not found.converged.any()
    torch.testing.assert_close(found.levels[:, 0], found.points[:, 0].square() + 1)


def test_a_vanishing_gradient_stops_the_point_where_it_is():
    points = torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    found = project(lambda x: x.square().sum(dim=1) - 1, points)
    assert found.converged.tolist() == [False, True]
    assert found.points[0].tolist() == [0.0, 0.0]
    assert found.levels[0].item() == -1.0


def test_dependent_rows_have_no_step():
    jacobian = torch.tensor([[[1.0, 2.0], [2.0, 4.0]], [[1.0, 0.0], [0.0, 1e-12]]])
    step, regular = minimal_norm_solution(jacobian, torch.ones(2, 2))
    assert regular.tolist() == [False, True]
    torch.testing.assert_close(step[0], torch.zeros(2))
    torch.testing.assert_close(step[1], torch.tensor([1.0, 1e12]))


@given(outputs=st.integers(1, 3), scale=st.sampled_from([1e-10, 1.0, 1e10]), seed=st.integers(0, 100))
def test_pseudo_inverse_equals_the_library_at_any_scale(outputs, scale, seed):
    torch.manual_seed(seed)
    jacobian = scale * torch.randn(4, outputs, 6, dtype=torch.float64)
    expected = torch.linalg.pinv(jacobian, rtol=1e-14).mT
    torch.testing.assert_close(pseudo_inverse(jacobian) * scale, expected * scale, rtol=1e-6, atol=1e-6)


def test_only_points_that_have_not_converged_are_evaluated_again():
    sizes = []

    def field(x):
        sizes.append(len(x))
        return x[:, 0] ** 2 - 4

    project(field, torch.tensor([[2.0], [2.0], [9.0]], dtype=torch.float64))
    assert sizes[0] == 3
    assert len(sizes) > 3
    assert all(size == 1 for size in sizes[1:])


def test_context_follows_the_points():
    radius = torch.tensor([1.0, 2.0, 3.0])
    found = project(
        lambda x, r: x.norm(dim=1) - r, torch.tensor([[1.0, 0], [5, 0], [9, 0]]), context=[radius]
    )
    torch.testing.assert_close(found.points[:, 0], radius)


def test_a_network_is_left_as_it_was():
    network = nn.Sequential(mlp(3, 1, 8, 2), nn.Dropout(0.0))
    points = torch.randn(10, 3)
    before = points.clone()
    project(network, points)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert all(part.training for part in network.modules())
    assert torch.equal(points, before)


def test_integers_and_negative_limits_are_refused():
    with pytest.raises(ValueError, match="floating point"):
        project(lambda x: x[:, 0], torch.zeros(2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="max_iterations"):
        project(lambda x: x[:, 0], torch.zeros(2, 2), max_iterations=-1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_points():
    network, points = mlp(3, 2, 16, 2).double(), torch.randn(20, 3, dtype=torch.float64)
    here = project(network, points).points
    there = project(network.cuda(), points.cuda()).points
    torch.testing.assert_close(there.cpu(), here)


def test_an_approach_lands_where_a_projection_does_and_looks_once_less():
    torch.manual_seed(0)
    network = mlp(3, 1, 32, 2).double()
    points, rows = 0.5 * torch.randn(200, 3, dtype=torch.float64), []

    def field(x):
        rows.append(len(x))
        return network(x)[:, 0] - network(points).median()

    expected = project(field, points, tolerance=1e-9)
    assert expected.converged.double().mean() > 0.9
    looked, _ = sum(rows), rows.clear()
    found = approach(field, points, trust=1e-9, max_iterations=20)
    assert sum(rows) <= looked
    torch.testing.assert_close(
        found[expected.converged], expected.points[expected.converged], rtol=0, atol=1e-7
    )
    rows.clear()
    near = approach(field, points, trust=0.03, max_iterations=20)
    assert sum(rows) < 0.9 * looked
    assert field(near).abs().median() < 0.003
