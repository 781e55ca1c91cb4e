import torch
from hypothesis import example, given
from hypothesis import strategies as st

from nls.levelset import false_position


@given(level=st.floats(-0.9, 0.9), seed=st.integers(0, 1000))
@example(level=0.8693918135453168, seed=357)
def test_a_root_of_a_monotone_field_is_found_on_the_segment(level, seed):
    torch.manual_seed(seed)
    start, end = -2 - torch.rand(7, 3).double(), 2 + torch.rand(7, 3).double()
    roots = false_position(lambda x: x.sum(dim=1).tanh(), start, end, level=level, max_iterations=60)
    assert roots.bracketed.all()
    values, wanted = roots.points.sum(dim=1).tanh(), torch.full((7,), level, dtype=torch.float64)
    torch.testing.assert_close(values, wanted, atol=1e-5 + 1e-12, rtol=0)  # the tolerance, and its rounding
    torch.testing.assert_close(values - level, roots.values, atol=1e-12, rtol=0)
    along = ((roots.points - start) / (end - start)).std(dim=1)
    torch.testing.assert_close(along, torch.zeros(7).double(), atol=1e-9, rtol=0)


def test_a_segment_without_a_sign_change_returns_its_better_end():
    start, end = torch.tensor([[1.0], [4.0]]), torch.tensor([[3.0], [2.0]])
    roots = false_position(lambda x: x[:, 0], start, end)
    assert not roots.bracketed.any()
    assert roots.points[:, 0].tolist() == [1.0, 2.0]
    assert roots.values.tolist() == [1.0, 2.0]


def test_one_forward_pass_an_iteration_and_none_for_known_ends():
    passes = []

    def field(x):
        passes.append(len(x))
        return x[:, 0] ** 3 - 0.1

    start, end = torch.zeros(5, 1), torch.ones(5, 1)
    false_position(field, start, end, end_values=(field(start), field(end)), tolerance=0.0, max_iterations=6)
    assert passes == [5, 5] + [5] * 6


def test_a_convex_field_on_which_plain_false_position_creeps():
    roots = false_position(
        lambda x: x[:, 0] ** 9 - 1e-3, torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    )
    assert roots.values.abs().item() < 1e-5


def test_images_and_labels_go_along():
    start, end = torch.zeros(3, 1, 2, 2), torch.ones(3, 1, 2, 2)
    wanted = torch.tensor([0.5, 1.0, 3.0])
    roots = false_position(lambda x, w: x.flatten(1).sum(dim=1) - w, start, end, context=[wanted])
    torch.testing.assert_close(roots.points.flatten(1).sum(dim=1), wanted, atol=1e-4, rtol=0)
