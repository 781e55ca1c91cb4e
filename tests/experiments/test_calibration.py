"""The temperature of a trained classifier."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from nls.errors import UserError
from nls.experiments.calibration import calibrate, output_layer
from nls.experiments.training import Training


@pytest.fixture
def images():
    return torch.rand(2000, 1, 3, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network():
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(9, 20), nn.Dropout(0.5), nn.Tanh(), nn.Linear(20, 4)
    ).eval()
    with torch.no_grad():
        for parameter in network[-1].parameters():
            parameter *= 40
    return network


def drawn(network, images, temperature):
    """Labels that the network is right about as often as it says, at a temperature."""
    with torch.no_grad():
        shares = (network(images) / temperature).softmax(dim=1)
    return torch.multinomial(shares, 1, generator=torch.Generator().manual_seed(2))[:, 0]


def test_a_network_that_is_too_sure_becomes_as_sure_as_it_is_right(network, images):
    labels = drawn(network, images, 7.0)
    with torch.no_grad():
        before = network(images)
        temperature = calibrate(network, images, labels)
        after = network(images)
    assert temperature == pytest.approx(7, rel=0.1)
    torch.testing.assert_close(after, before / temperature, rtol=1e-4, atol=1e-4)
    losses = [functional.cross_entropy(after * factor, labels) for factor in (0.95, 1, 1.05)]
    assert losses[1] == min(losses)
    assert network[2].training is False


def test_no_network_is_made_surer(network, images):
    with torch.no_grad():
        before = network(images)
    assert calibrate(network, images, before.argmax(dim=1)) == pytest.approx(1, abs=1e-3)
    with torch.no_grad():
        torch.testing.assert_close(network(images), before, rtol=1e-3, atol=1e-3)


def test_it_needs_a_last_linear_layer_and_held_out_images(network, images):
    assert output_layer(network.train(), images) is network[-1]
    assert network[2].training
    with pytest.raises(UserError, match="does not end in a linear layer"):
        output_layer(nn.Sequential(network, nn.Softmax(dim=1)), images)
    with pytest.raises(ValueError, match="held_out"):
        Training(epochs=1, learning_rate=0.1, calibrate=True)
