import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nls.levelset import ClassMargin, class_margin, evaluation_mode, values_and_jacobian
from nls.networks.mlp import mlp


@given(
    outputs=st.integers(1, 3),
    count=st.integers(0, 5),
    shape=st.sampled_from([(4,), (1, 2, 2), (2, 3)]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_jacobian_of_an_affine_field_is_its_matrix(outputs, count, shape, dtype):
    torch.manual_seed(0)
    matrix = torch.randn(outputs, *shape, dtype=dtype)
    points = torch.randn(count, *shape, dtype=dtype)

    def field(x):
        return torch.einsum("nd,ld->nl", x.flatten(1), matrix.flatten(1)) + 2

    values, jacobian = values_and_jacobian(field, points)

    assert values.dtype == jacobian.dtype == dtype
    torch.testing.assert_close(values, field(points))
    torch.testing.assert_close(jacobian, matrix.expand(count, *matrix.shape))


def test_parameters_receive_no_gradient_and_the_result_has_no_graph():
    network = mlp(3, 2, 8, 1)
    with torch.no_grad():
        values, jacobian = values_and_jacobian(network, torch.randn(5, 3))
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not values.requires_grad
    assert not jacobian.requires_grad


def test_class_margin_is_the_logit_minus_the_largest_other():
    logits = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [0.0, 0.0, -1.0]])
    labels = torch.tensor([0, 2, 1])
    torch.testing.assert_close(class_margin(logits, labels), torch.tensor([1.0, -1.0, 0.0]))


def test_class_margin_field_takes_the_labels_as_context():
    classifier = nn.Linear(2, 3)
    points, labels = torch.randn(4, 2), torch.tensor([0, 1, 2, 0])
    values, _ = values_and_jacobian(ClassMargin(classifier), points, [labels])
    torch.testing.assert_close(values[:, 0], class_margin(classifier(points), labels).detach())


def test_evaluation_mode_gives_every_part_its_own_mode_back():
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout())
    network[1].eval()
    with evaluation_mode(network):
        assert not any(part.training for part in network.modules())
    assert [part.training for part in network.modules()] == [True, True, False]
