import numpy as np
import pytest
import torch

from nls.geometry.neighbours import Neighbours
from nls.networks.atlasnet import AtlasNet
from nls.objectives.chamfer import squared_chamfer


def small(patches, template):
    torch.manual_seed(0)
    return AtlasNet(patches, template, latent=64, hidden=32)


def test_sizes_of_the_release():
    count = sum(parameter.numel() for parameter in AtlasNet(1, "square").parameters())
    decoder = (2 * 1024 + 1024 + 2048) + (1024 * 512 + 512 + 1024) + 2 * (512 * 512 + 512 + 1024)
    assert count == decoder + 512 * 3 + 3


@pytest.mark.parametrize(
    ("patches", "template", "euler", "closed"),
    [(1, "sphere", 2, True), (1, "square", 1, False), (25, "square", 25, False)],
)
def test_mesh_has_the_templates_triangulation(patches, template, euler, closed):
    network = small(patches, template)
    mesh = network.mesh(vertices=2500)
    assert mesh.euler_number == euler
    assert mesh.is_watertight == closed
    assert 1000 < len(mesh.vertices) < 6000


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
    places = torch.rand(3, 40, 2)
    before = network(places)
    with torch.no_grad():
        network.layers[2].weight[1] += 1
    after = network(places)
    assert not torch.allclose(before[1], after[1])
    torch.testing.assert_close(before[[0, 2]], after[[0, 2]])


def test_a_description_added_to_the_first_layer_would_have_no_effect():
    """Why the release's encoder is left out: the norm that follows subtracts what is the same at every point."""
    network = small(2, "square").double()
    places = torch.rand(2, 30, 2, dtype=torch.float64)
    before = network(places)
    with torch.no_grad():
        network.layers[0].bias += 5 * torch.randn(64, dtype=torch.float64)
    torch.testing.assert_close(network(places), before)


def test_training_and_evaluation_give_the_same_surface():
    network = small(2, "square")
    network(network.random_places(100, torch.Generator().manual_seed(0)))
    np.testing.assert_array_equal(network.mesh(200).vertices, network.eval().mesh(200).vertices)


def test_squared_chamfer_and_its_gradient():
    torch.manual_seed(0)
    images, cloud = (
        torch.randn(30, 3, dtype=torch.float64, requires_grad=True),
        torch.randn(70, 3, dtype=torch.float64),
    )
    batch = cloud[:40]
    onward = (images[:, None] - cloud[None]).square().sum(dim=2).amin(dim=1)
    back = (images[:, None] - batch[None]).square().sum(dim=2).amin(dim=0)
    expected = onward.mean() + back.mean()
    found = squared_chamfer(images, batch, Neighbours(cloud))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, images), torch.autograd.grad(expected, images))


def test_converges_on_a_sphere():
    network = small(1, "sphere")
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    draws = torch.Generator().manual_seed(0)
    cloud = Neighbours(torch.nn.functional.normalize(torch.randn(5000, 3, generator=draws), dim=1))
    for step in range(160):
        optimizer.param_groups[0]["lr"] = 3e-3 if step < 100 else 3e-4
        batch = cloud.points[torch.randint(5000, (400,), generator=draws)]
        loss = squared_chamfer(network(network.random_places(400, draws)).flatten(0, 1), batch, cloud)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    radii = np.linalg.norm(network.mesh(600).vertices, axis=1)
    # A sample of 400 points of the sphere is 4π ∕ (400 π) = 0.01 away from it.
    assert loss.item() < 0.02
    assert np.abs(radii - 1).mean() < 0.05
