import numpy as np
import pytest
import torch

from nls.networks.atlasnet import AtlasNet
from nls.objectives.chamfer import squared_chamfer


def small(patches, template):
    torch.manual_seed(0)
    return AtlasNet(patches, template, latent=64, hidden=32)


def test_sizes_of_the_release():
    count = sum(parameter.numel() for parameter in AtlasNet(1, "square").parameters())
    encoder = (3 * 64 + 64 + 128) + (64 * 128 + 128 + 256) + (128 * 1024 + 1024 + 2048)
    decoder = (2 * 1024 + 1024 + 2048) + (1024 * 512 + 512 + 1024) + 2 * (512 * 512 + 512 + 1024)
    assert count == encoder + decoder + 512 * 3 + 3


@pytest.mark.parametrize(
    ("patches", "template", "euler", "closed"),
    [(1, "sphere", 2, True), (1, "square", 1, False), (25, "square", 25, False)],
)
def test_mesh_has_the_templates_triangulation(patches, template, euler, closed):
    network = small(patches, template)
    mesh = network.mesh(torch.randn(200, 3), vertices=2500)
    assert mesh.euler_number == euler
    assert mesh.is_watertight == closed
    assert 1000 < len(mesh.vertices) < 6000
    assert network.training


@pytest.mark.parametrize("template", ["sphere", "square"])
def test_places_lie_on_the_template(template):
    places = small(5, template).random_places(1000, torch.Generator().manual_seed(0))
    assert places.shape[:2] == (5, 200)
    if template == "sphere":
        torch.testing.assert_close(places.norm(dim=2), torch.ones(5, 200))
    else:
        assert places.min() >= 0
        assert places.max() <= 1


def test_patches_do_not_see_each_other():
    network = small(3, "square")
    cloud, places = torch.randn(50, 3), torch.rand(3, 40, 2)
    before = network(cloud, places)
    with torch.no_grad():
        network.layers[2].weight[1] += 1
    after = network(cloud, places)
    assert not torch.allclose(before[1], after[1])
    torch.testing.assert_close(before[[0, 2]], after[[0, 2]])


def test_description_does_not_depend_on_the_order_of_the_points():
    network = small(1, "square").eval()
    cloud, places = torch.randn(50, 3), torch.rand(1, 10, 2)
    torch.testing.assert_close(network(cloud, places), network(cloud.flip(0), places))


def test_squared_chamfer_and_its_gradient():
    torch.manual_seed(0)
    a, b = (
        torch.randn(30, 3, dtype=torch.float64, requires_grad=True),
        torch.randn(40, 3, dtype=torch.float64),
    )
    pairs = (a[:, None] - b[None]).square().sum(dim=2)
    expected = pairs.amin(dim=1).mean() + pairs.amin(dim=0).mean()
    torch.testing.assert_close(squared_chamfer(a, b), expected)
    (wanted,) = torch.autograd.grad(expected, a)
    (found,) = torch.autograd.grad(squared_chamfer(a, b), a)
    torch.testing.assert_close(found, wanted)


def test_converges_on_a_sphere():
    network = small(1, "sphere")
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    draws = torch.Generator().manual_seed(0)
    for step in range(160):
        optimizer.param_groups[0]["lr"] = 3e-3 if step < 100 else 3e-4
        target = torch.nn.functional.normalize(torch.randn(400, 3, generator=draws), dim=1)
        loss = squared_chamfer(network(target, network.random_places(400, draws)).flatten(0, 1), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    radii = np.linalg.norm(network.mesh(target, 600).vertices, axis=1)
    # Two samples of 400 points of the sphere are 2 · 4π ∕ (400 π) = 0.02 apart.
    assert loss.item() < 0.03
    assert np.abs(radii - 1).mean() < 0.08
