import pytest
import torch

from nls.reconstruction.muon import Muon, orthogonalised

SHAPES = [(32, 32), (48, 16), (16, 48)]


def trained(make, steps=20):
    """Return matrices after steps on a quadratic, from the same start."""
    torch.manual_seed(0)
    matrices = [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    goals = [torch.randn(shape) for shape in SHAPES]
    optimizer = make(matrices)
    for _ in range(steps):
        optimizer.zero_grad()
        sum((matrix - goal).square().sum() for matrix, goal in zip(matrices, goals, strict=True)).backward()
        optimizer.step()
    return [matrix.detach() for matrix in matrices]


def of_torch(matrices):
    return torch.optim.Muon(matrices, 0.02, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")


def test_equals_torchs_muon_where_that_keeps_float32(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.clone())
    expected = trained(of_torch)
    for ours, theirs in zip(trained(lambda matrices: Muon(matrices, 0.02)), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_is_near_torchs_muon_in_bfloat16():
    start = trained(of_torch, 0)
    for ours, theirs, origin in zip(
        trained(lambda matrices: Muon(matrices, 0.02)), trained(of_torch), start, strict=True
    ):
        assert (ours - theirs).norm() < 0.02 * (theirs - origin).norm()


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_come_near_one(shape):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalised(torch.randn(shape, dtype=torch.float64)))
    assert values.min() > 0.5
    assert values.max() < 1.3
