import torch

from nls.engine.vision import torchvision


def test_torchvision_imports_beside_this_torch():
    """Where its operators load, they work; where they do not, datasets and transforms work all the same."""
    assert torchvision.transforms.functional.hflip(torch.tensor([[[1, 2]]])).tolist() == [[[2, 1]]]
    assert len(torchvision.datasets.MNIST.resources) == 4
    if torch.version.cuda is not None:
        assert torchvision.ops.nms(torch.tensor([[0.0, 0, 1, 1]]), torch.ones(1), 0.5).tolist() == [0]
