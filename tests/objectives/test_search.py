"""The search that robust losses share, against an affine loss, whose steps are known."""

import pytest
import torch

from nls.objectives.base import Moment
from nls.objectives.search import BoxSearch, box


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    return torch.rand(5, 1, 4, 4, generator=generator(2), dtype=torch.float64)


@pytest.fixture
def slope():
    return torch.randn(1, 4, 4, generator=generator(1), dtype=torch.float64)


def test_a_long_search_of_an_affine_loss_ends_in_the_corner_of_the_box(images, slope):
    ends = BoxSearch(steps=50, step_size=0.05).climb(
        lambda points: (points * slope).flatten(1).sum(dim=1), images, 0.2, generator(), scale=1.0
    )
    lower, upper = box(images, 0.2)
    torch.testing.assert_close(ends, torch.where(slope > 0, upper, lower))


def test_without_noise_a_step_is_the_step_size_times_the_scale_of_the_image(images, slope):
    inner = 0.4 + 0.2 * images
    scale = torch.linspace(0.5, 1.5, 5, dtype=torch.float64)[:, None, None, None]
    ends = BoxSearch(steps=1, step_size=0.1).climb(
        lambda points: (points * slope).flatten(1).sum(dim=1), inner, 0.3, generator(), scale=scale, noise=0.0
    )
    torch.testing.assert_close(ends - inner, 0.1 * scale * slope.sign().expand_as(inner))


def test_fading_steps_add_up_to_the_sum_of_half_a_cosine(images, slope):
    inner = 0.4 + 0.2 * images
    ends = BoxSearch(steps=4, step_size=0.05, fading_steps=True).climb(
        lambda points: (points * slope).flatten(1).sum(dim=1), inner, 0.3, generator(), scale=1.0, noise=0.0
    )
    shares = sum((1 + torch.cos(torch.tensor(torch.pi * k / 4, dtype=torch.float64))) / 2 for k in range(4))
    torch.testing.assert_close(ends - inner, 0.05 * shares * slope.sign().expand_as(inner))


def test_a_start_with_noise_is_near_the_image_and_one_without_is_anywhere_in_the_box(images):
    search = BoxSearch(steps=1, step_size=1e-9)

    def moved(noise):
        ends = search.climb(
            lambda points: points.flatten(1).sum(dim=1), images, 0.2, generator(), scale=1.0, noise=noise
        )
        return (ends - images).abs().amax()

    assert 0 < moved(0.001) < 0.006
    assert 0.15 < moved(None) <= 0.2 + 1e-9


@pytest.mark.parametrize(("epoch", "share"), [(0, 0), (1, 0.25), (4, 1), (9, 1)])
def test_the_warm_up_goes_linearly_from_nothing_to_all_of_eps(epoch, share):
    assert BoxSearch(warm_up_epochs=4).grown(Moment(epoch, generator())) == share
    assert BoxSearch().grown(Moment(epoch, generator())) == 1


def test_a_users_loss_with_this_search_is_captured_as_a_graph_only_if_it_says_so():
    assert not hasattr(BoxSearch(), "repeatable")
