import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nls.levelset import SampleNetwork, least_step_inverse

NORMS = {"l1": 1.0, "l2": 2.0, "linf": float("inf")}
DUAL = {"l1": float("inf"), "l2": 2.0, "linf": 1.0}


@pytest.mark.parametrize("norm", NORMS)
@given(seed=st.integers(0, 10**6))
def test_the_step_solves_the_equation_and_is_as_short_as_duality_allows(norm, seed):
    draws = torch.Generator().manual_seed(seed)
    jacobian = torch.randn(4, 1, 2, 3, generator=draws, dtype=torch.float64)
    step = least_step_inverse(jacobian, norm)
    torch.testing.assert_close((jacobian * step).flatten(1).sum(1), torch.ones(4, dtype=torch.float64))
    length = torch.linalg.vector_norm(step.flatten(1), NORMS[norm], dim=1)
    torch.testing.assert_close(
        length, 1 / torch.linalg.vector_norm(jacobian.flatten(1), DUAL[norm], dim=1), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("norm", NORMS)
def test_the_distance_to_an_affine_level_set_has_the_exact_derivative(norm):
    # F(x) = g·x + b: the distance of x to F = 0 is |F(x)| / ‖g‖_*, so its derivative by b is ±1 / ‖g‖_*.
    field = nn.Linear(5, 1).double()
    with torch.no_grad():
        field.weight.copy_(torch.tensor([[1.0, -2.0, 0.5, 0.25, 3.0]]))
    x = torch.tensor([[0.3, -0.1, 0.7, 0.2, 0.5]], dtype=torch.float64)
    gradient = field.weight.detach()
    value = field(x).detach()
    inverse = least_step_inverse(gradient[:, None], norm)[:, 0]
    sample = SampleNetwork(
        field, x - inverse * value, torch.zeros_like(value), gradient[:, None], norm=norm
    )()
    distance = torch.linalg.vector_norm(x - sample, NORMS[norm])
    dual = torch.linalg.vector_norm(gradient, DUAL[norm])
    torch.testing.assert_close(distance, value[0, 0].abs() / dual)
    (by_bias,) = torch.autograd.grad(distance, field.bias)
    torch.testing.assert_close(by_bias[0], value[0, 0].sign() / dual)


@pytest.mark.parametrize("norm", NORMS)
def test_a_vanishing_gradient_gives_no_step(norm):
    assert torch.equal(least_step_inverse(torch.zeros(2, 1, 3), norm), torch.zeros(2, 1, 3))


def test_several_outputs_have_no_closed_form_outside_l2():
    with pytest.raises(ValueError, match="needs one output, not 2"):
        least_step_inverse(torch.ones(1, 2, 3), "linf")
