import copy
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nls.attacks import NEVER, Ball, ascend, attack, is_correct, pgd
from nls.attacks.pgd import STEPS_BETWEEN_LOOKS
from nls.engine.vision import torchvision  # noqa: F401
from nls.errors import UserError
from nls.networks.classifiers import build_classifier

import torchattacks  # isort: skip


@pytest.fixture(scope="module")
def examples():
    """A small trained network on blobs of light, whose classes PGD at 0.1 breaks in part."""
    torch.manual_seed(0)
    labels = torch.arange(120) % 10
    images = torch.rand(120, 1, 8, 8) * 0.3
    for row, label in enumerate(labels):
        images[row, 0, int(label) % 8, :4] += 0.25 + 0.3 * (label > 7)
    network = build_classifier("convnet-small", 1, 8, 10)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    assert is_correct(network, images, labels).float().mean() > 0.9
    return network, images, labels


def _start(ball, images, seed=0):
    return ball.random(images, torch.Generator().manual_seed(seed))


def test_same_points_as_torchattacks(examples):
    network, images, labels = examples
    theirs = torchattacks.PGD(network, eps=0.05, alpha=0.005, steps=15, random_start=False)
    expected = theirs(images, labels)
    ours = pgd(
        network,
        images,
        labels,
        Ball(0.05),
        images,
        loss="xent",
        steps=15,
        step_size=0.005,
        stop_when_broken=False,
    )
    torch.testing.assert_close(ours.points, expected, atol=1e-6, rtol=0)
    assert torch.equal(~ours.broken, is_correct(network, expected, labels))
    # Leaving when broken changes nothing for the others, and never makes the attack weaker.
    stopping = pgd(network, images, labels, Ball(0.05), images, loss="xent", steps=15, step_size=0.005)
    withstood = ~stopping.broken
    torch.testing.assert_close(stopping.points[withstood], ours.points[withstood], atol=1e-6, rtol=0)
    assert (stopping.broken | ~ours.broken).all()
    assert 0 < stopping.broken.sum() < len(labels)


def test_same_points_as_torchattacks_in_l2(examples):
    # In float32 a kink of a ReLU moves some points by 1e-3 on one CPU and not on another.
    network, images, labels = copy.deepcopy(examples[0]).double(), examples[1].double(), examples[2]
    theirs = torchattacks.PGDL2(network, eps=0.8, alpha=0.1, steps=10, random_start=False, eps_for_division=0)
    ours = pgd(
        network,
        images,
        labels,
        Ball(0.8, "l2"),
        images,
        loss="xent",
        steps=10,
        step_size=0.1,
        stop_when_broken=False,
    )
    torch.testing.assert_close(ours.points, theirs(images, labels), atol=1e-9, rtol=0)


def test_batches_do_not_decide(examples):
    network, images, labels = examples
    ball = Ball(0.05)
    settings_ = {"loss": "margin", "steps": 15, "step_size": 0.005}
    start = _start(ball, images)
    whole = pgd(network, images, labels, ball, start, **settings_)
    parts = pgd(network, images, labels, ball, start, batch_size=7, **settings_)
    assert torch.equal(whole.broken, parts.broken)
    assert torch.equal(is_correct(network, whole.points, labels), ~whole.broken)


def test_a_gpu_looks_less_often_and_finds_the_same(examples, monkeypatch):
    network, images, labels = examples
    ball = Ball(0.05)
    settings_ = {"loss": "xent", "steps": 23, "step_size": 0.005, "batch_size": 50}
    often = pgd(network, images, labels, ball, _start(ball, images), **settings_)
    assert len(often.broken_at.unique()) > 3
    monkeypatch.setitem(STEPS_BETWEEN_LOOKS, "cpu", STEPS_BETWEEN_LOOKS["cuda"])
    monkeypatch.setattr(sys.modules["nls.attacks.pgd"], "FIXED_SIZES", {"cpu"})
    seldom = pgd(network, images, labels, ball, _start(ball, images), **settings_)
    assert torch.equal(often.broken_at, seldom.broken_at)
    torch.testing.assert_close(often.points, seldom.points, atol=1e-6, rtol=0)


@pytest.mark.parametrize("sizes", [set(), {"cpu"}])
def test_no_examples_are_no_work(examples, sizes, monkeypatch):
    monkeypatch.setattr(sys.modules["nls.attacks.pgd"], "FIXED_SIZES", sizes)
    network, images, labels = examples
    attacked = pgd(
        network, images[:0], labels[:0], Ball(0.1), images[:0], loss="xent", steps=5, step_size=0.02
    )
    assert attacked.points.shape == images[:0].shape
    assert attacked.broken.shape == (0,)


def test_broken_at_tells_the_first_wrong_iterate(examples):
    network, images, labels = examples
    ball = Ball(0.15)
    start = _start(ball, images)
    all_steps = pgd(network, images, labels, ball, start, loss="xent", steps=12, step_size=0.02)
    for steps in (0, 3, 7):
        fewer = pgd(network, images, labels, ball, start, loss="xent", steps=steps, step_size=0.02)
        expected = (all_steps.broken_at != NEVER) & (all_steps.broken_at <= steps)
        assert torch.equal(fewer.broken, expected)


@given(
    eps=st.floats(0, 1),
    norm=st.sampled_from(["linf", "l2"]),
    channels=st.integers(1, 3),
    side=st.integers(2, 6),
    loss=st.sampled_from(["xent", "margin"]),
    seed=st.integers(0, 2**31),
)
def test_points_are_images_in_the_ball(eps, norm, channels, side, loss, seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(channels * side * side, 5))
    images = torch.rand(6, channels, side, side).round(decimals=1)
    labels = torch.randint(5, (6,))
    ball = Ball(eps, norm)
    start = ball.random(images, torch.Generator().manual_seed(seed))
    result = pgd(model, images, labels, ball, start, loss=loss, steps=4, step_size=0.3)
    for points in (start, result.points):
        offset = (points - images).flatten(1)
        length = offset.abs().amax(1) if norm == "linf" else offset.norm(dim=1)
        assert (length <= eps + 1e-6).all()
        assert points.min() >= 0
        assert points.max() <= 1


def test_the_margin_attack_on_a_linear_model_ends_in_the_corner():
    weights = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.0, 0.0, 0.0, 0.0]])
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    model[1].weight.data = weights
    images = torch.full((1, 1, 2, 2), 0.5)
    result = pgd(
        model,
        images,
        torch.tensor([0]),
        Ball(0.2),
        images,
        loss="margin",
        steps=30,
        step_size=0.01,
        stop_when_broken=False,
    )
    torch.testing.assert_close(result.points.flatten(), torch.tensor([0.3, 0.7, 0.3, 0.3]))


def test_ascend_takes_a_step_size_for_each_point():
    start = torch.full((2, 3), 0.5)
    sizes = torch.tensor([[0.01], [0.1]])
    ends = ascend(
        lambda points: points.sum(dim=1), start, start - 0.15, start + 0.15, steps=2, step_size=sizes
    )
    torch.testing.assert_close(ends, torch.tensor([[0.52] * 3, [0.65] * 3]))


def test_fading_steps_fall_as_half_a_cosine():
    start, sizes = torch.full((2, 3), 0.5, dtype=torch.float64), torch.tensor([[0.01], [0.02]])
    ends = ascend(
        lambda points: points.sum(dim=1), start, start - 1, start + 1, steps=3, step_size=sizes, fading=True
    )
    # (1 + cos(πk/3))/2 is 1, 3/4, 1/4.
    torch.testing.assert_close(
        ends, torch.tensor([[0.52] * 3, [0.54] * 3], dtype=torch.float64), atol=1e-8, rtol=0
    )


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    model[1].eval()
    model[4].bias.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images, labels = torch.rand(5, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1])
    state = torch.get_rng_state()
    attack(
        model,
        images,
        labels,
        eps=0.1,
        steps=2,
        attacks=["pgd-xent", "pgd-margin", "apgd-ce", "fab-t", "square"],
    )
    assert model.training
    assert not model[1].training
    assert model[0].training
    assert [p.requires_grad for p in model.parameters()] == [True] * 5 + [False]
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_eps_must_not_be_negative():
    with pytest.raises(UserError, match=r"eps must be 0 or larger, not -0.1"):
        Ball(-0.1)
