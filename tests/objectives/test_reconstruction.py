from dataclasses import replace

import pytest
import torch

from nls.geometry.hull import supporting_planes
from nls.geometry.neighbours import Neighbours
from nls.networks.implicit import ImplicitMLP
from nls.objectives.igr import IgrLoss
from nls.objectives.reconstruction import ReconstructionLoss


def ball(points):
    return points.norm(dim=1) - 0.5


def on_sphere(points, radius=0.5):
    return radius * torch.nn.functional.normalize(
        torch.randn(points, 3, generator=torch.Generator().manual_seed(1)), dim=1
    )


def draws():
    return torch.Generator().manual_seed(0)


def test_is_zero_at_the_signed_distance_of_a_dense_cloud():
    cloud = on_sphere(200_000)
    terms = ReconstructionLoss(newton_tolerance=1e-6)(ball, cloud[:2000], Neighbours(cloud), draws())
    # Neighbours on the surface are about 0.5 / √(area density) apart.
    assert terms.zero < 2e-3
    assert terms.others < 2e-3
    assert terms.fit < 1e-6
    assert terms.converged == 1


def test_measures_how_far_a_level_set_is_from_the_cloud():
    """The sphere of radius 0.5 is 0.1 from a cloud on that of radius 0.6; its levels are 0.1 off on one side."""
    cloud = on_sphere(100_000, 0.6)
    terms = ReconstructionLoss(level_sigmas=(0.01,))(ball, cloud[:2000], Neighbours(cloud), draws())
    assert terms.zero == pytest.approx(0.1, rel=0.02)
    assert terms.fit == pytest.approx(0.1, rel=0.02)
    assert terms.others == pytest.approx(0.1, rel=0.1)
    total = ReconstructionLoss(fit_weight=2.0).total(terms)
    assert total == pytest.approx(float(terms.zero + terms.others + 2 * terms.fit))


def test_power_takes_the_root_of_each_levels_mean():
    """Seeds on the level set stay where they are, so the errors are their distances from the cloud."""
    batch, cloud = on_sphere(1000), on_sphere(20, 0.6)
    distances = torch.cdist(batch, cloud).amin(dim=1)
    for power in (1.0, 2.0, 3.0):
        objective = ReconstructionLoss(power=power, seed_sigma=0.0, uniform_share=0.0, level_sigmas=(0.0,))
        terms = objective(ball, batch, Neighbours(cloud), draws())
        for found, errors in zip((terms.zero, terms.others), distances.split(500), strict=True):
            root = float((errors**power).mean()) ** (1 / power)
            assert found == pytest.approx(root, rel=1e-4)
    alone = replace(objective, level_sigmas=())(ball, batch, Neighbours(cloud), draws())
    assert alone.others == 0


def test_moves_the_level_set_towards_the_cloud():
    """The derivative in a sphere's radius r is −1 where the cloud lies outside (Eq. 8 on Eq. 13)."""
    radius = torch.tensor(0.5, requires_grad=True)

    def field(points):
        return points.norm(dim=1) - radius

    cloud = on_sphere(100_000, 0.6)
    objective = ReconstructionLoss(level_sigmas=())
    terms = objective(field, cloud[:2000], Neighbours(cloud), draws())
    (slope,) = torch.autograd.grad(terms.zero, radius, retain_graph=True)
    assert slope == pytest.approx(-1, rel=0.02)
    (slope,) = torch.autograd.grad(terms.fit, radius)
    assert slope == pytest.approx(-1)


def test_other_levels_move_to_their_distance():
    """Of F = k(‖x‖ − 0.5), level c lies at |c|/k: with k = 2 the error shrinks as k falls."""
    slope = torch.tensor(2.0, requires_grad=True)
    cloud = on_sphere(100_000)
    objective = ReconstructionLoss(level_sigmas=(0.1,))
    terms = objective(
        lambda points: slope * (points.norm(dim=1) - 0.5), cloud[:2000], Neighbours(cloud), draws()
    )
    (change,) = torch.autograd.grad(terms.others, slope)
    assert change > 0


def test_samples_at_a_hole_do_not_count():
    """Of a sphere the cap z > 0.2 is unseen: the sphere must have no error, a smaller one all of it."""
    cloud = on_sphere(100_000)
    seen = cloud[cloud[:, 2] < 0.2]
    misled = ReconstructionLoss(newton_tolerance=1e-6)
    objective = replace(misled, reach=0.02, hole_weight=0.0)
    terms, freed = (each(ball, seen[:4000], Neighbours(seen), draws()) for each in (misled, objective))
    assert terms.zero > 0.01
    assert terms.others > 0.0025
    halved = replace(objective, hole_weight=0.5)(ball, seen[:4000], Neighbours(seen), draws())
    assert halved.zero == pytest.approx(float(terms.zero + freed.zero) / 2)
    assert freed.zero < 4e-3
    assert freed.others < 1e-3
    smaller = [
        each(lambda points: ball(points) + 0.015, cloud[:4000], Neighbours(cloud), draws())
        for each in (misled, objective)
    ]
    assert smaller[0] == smaller[1]
    assert smaller[0].zero == pytest.approx(0.015, rel=0.05)


def igr_terms(field, batch, normals=None):
    spacing = torch.full((len(batch),), 0.02)
    bounds = batch.amin(dim=0), batch.amax(dim=0)
    return IgrLoss()(field, batch, spacing, normals, bounds, supporting_planes(batch), draws())


def test_igr_terms():
    batch = on_sphere(4000)
    terms = igr_terms(lambda points: 3 * ball(points), batch, -2 * batch)
    assert terms.fit < 1e-6
    assert terms.eikonal.item() == pytest.approx(4)  # (3 − 1)²
    assert terms.normal.item() == pytest.approx(4)  # ∇F = 3 n against −n
    assert terms.outside == 0
    weights = IgrLoss(eikonal_weight=0.5, normal_weight=0.25)
    assert weights.total(terms).item() == pytest.approx(3, abs=1e-5)
    assert weights.total(igr_terms(lambda points: 3 * ball(points), batch)).item() == pytest.approx(
        2, abs=1e-5
    )


def test_igr_knows_the_sign_outside_the_clouds_hull_alone():
    batch = on_sphere(4000, 0.4)
    assert igr_terms(lambda points: 0.4 - points.norm(dim=1), batch).outside > 0.1
    # Any surface in the hull will do, the hull with its slack barely.
    edge = 0.4 + IgrLoss().slack
    directions, offsets = supporting_planes(batch)

    def to_hull(points):
        return (points @ directions.T - offsets).amax(dim=1).sub(IgrLoss().slack).clamp(min=0)

    assert igr_terms(lambda points: points.norm(dim=1) - 0.4, batch).outside == 0
    assert igr_terms(lambda points: points.norm(dim=1) - edge, batch).outside < 1e-4
    assert igr_terms(to_hull, batch).outside < 1e-4
    # Half of the uniform samples lie in the grid's box, half in the cloud's with the samples' margin.
    ball = 4 / 3 * torch.pi * edge**3
    outside = 1 - (ball / 2.2**3 + ball / 1.0**3) / 2
    assert igr_terms(lambda points: to_hull(points) - 0.1, batch).outside.item() == pytest.approx(
        0.1 * outside, rel=0.02
    )


def test_igr_samples_near_the_cloud_in_its_box_and_in_the_grids_box():
    batch = on_sphere(4000, 0.2)
    seen = []

    def field(points):
        seen.append(points.detach())
        return ball(points)

    igr_terms(field, batch)
    near, tight, wide = seen[0].split([2000, 2000, 2000])
    assert (near - batch[:2000]).std() == pytest.approx(0.02, rel=0.1)
    assert 0.28 < tight.abs().max() < 0.301
    assert 1.08 < wide.abs().max() < 1.1


def test_igr_reaches_the_parameters_through_the_gradient():
    torch.manual_seed(0)
    network = ImplicitMLP(16, 2, activation="softplus")
    igr_terms(network, on_sphere(64)).eikonal.backward()
    assert network.layers[0].hidden.weight.grad.abs().sum() > 0
