import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency

from nls.data.augment import CropFlip
from nls.engine.vision import torchvision

transforms = torchvision.transforms


def by_hand(image: torch.Tensor, down: int, right: int, flip: bool, padding: int) -> torch.Tensor:
    _, height, width = image.shape
    padded = torch.zeros(image.shape[0], height + 2 * padding, width + 2 * padding, dtype=image.dtype)
    padded[:, padding : padding + height, padding : padding + width] = image
    crop = padded[:, down : down + height, right : right + width]
    return crop.flip(-1) if flip else crop


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 5, 7)])
def test_each_image_gets_its_own_draw(dtype, shape):
    images = torch.randint(1, 256, (20, *shape)).to(dtype)
    augment = CropFlip.draw(20, seed=1, epoch=0, device="cpu")
    index = torch.randperm(20)
    batch = augment(images[index], index)
    assert batch.dtype == dtype
    assert batch.shape == images.shape
    for row, k in enumerate(index.tolist()):
        down, right = augment.shift[k].tolist()
        torch.testing.assert_close(batch[row], by_hand(images[k], down, right, bool(augment.flip[k]), 4))


def test_seed_and_epoch_decide():
    first = CropFlip.draw(100, seed=1, epoch=3, device="cpu")
    again = CropFlip.draw(100, seed=1, epoch=3, device="cpu")
    assert torch.equal(first.shift, again.shift)
    assert torch.equal(first.flip, again.flip)
    for seed, epoch in ((1, 4), (2, 3), (13, 3)):
        assert not torch.equal(first.shift, CropFlip.draw(100, seed, epoch, "cpu").shift)


def test_batches_and_their_order_do_not_matter():
    images = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8)
    augment = CropFlip.draw(12, seed=0, epoch=0, device="cpu")
    whole = augment(images, torch.arange(12))
    index = torch.tensor([7, 2, 11])
    assert torch.equal(augment(images[index], index), whole[index])


def test_the_distribution_is_that_of_torchvisions_transforms():
    """An image of distinct pixels betrays its shift and flip: both ways must draw from one distribution."""
    size, n = 16, 20_000
    image = torch.arange(1, size * size + 1, dtype=torch.float32).reshape(1, size, size)
    reference = transforms.Compose(
        [transforms.RandomCrop(size, padding=4), transforms.RandomHorizontalFlip()]
    )
    torch.manual_seed(0)
    theirs = torch.stack([reference(image) for _ in range(n)])
    ours = CropFlip.draw(n, seed=0, epoch=0, device="cpu")(image.expand(n, 1, size, size), torch.arange(n))

    counts = [outcomes(theirs), outcomes(ours)]
    assert counts[0].size == counts[1].size == 162  # 9 × 9 shifts, flipped or not
    assert chi2_contingency(np.stack(counts)).pvalue > 0.001


def outcomes(batch: torch.Tensor) -> np.ndarray:
    """Count each of the 162 outcomes by the middle 8 × 8 pixels, which no padding reaches."""
    middle = batch[:, 0, 4:12, 4:12].flatten(1)[:, :2].long()  # a pixel and its right neighbour tell both
    outcome, counts = torch.unique(middle[:, 0] * 2 + (middle[:, 1] > middle[:, 0]), return_counts=True)
    assert outcome.equal(outcome.sort().values)
    return counts.numpy()
