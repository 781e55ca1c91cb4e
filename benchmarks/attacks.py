"""40 steps of PGD on ConvNet-4a against torchattacks and against the loop of the textbook.

All three get the same images, starts and steps. ours leaves an example as soon as an iterate is misclassified; so the
ratio depends on how many are, and both ends are shown: a radius at which all break, and one at which most do not,
as on a robust network.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.inputs import classifier, images
from benchmarks.rows import Growth, Row, growth_of, peak_share, taking_turns
from nls.attacks import Ball, is_correct, pgd
from nls.engine.vision import torchvision  # noqa: F401  torchattacks imports it

STEPS = 40


def rows(quick: bool, device: torch.device) -> Iterator[Row]:
    model, (pixels, digits) = classifier(device), images(device)
    full = [(128, 128), (1000, 250)] if device.type == "cuda" else [(128, 128), (500, 250)]
    for examples, batch in [(32, 32)] if quick else full:
        x, y = pixels[-examples:], digits[-examples:]
        for eps in (0.3, 0.02):
            for name, attack in ALTERNATIVES.items():
                yield _compare(name, attack, model, x, y, batch, eps, device, repeats=1 if quick else 3)


def _compare(name, attack, model, x, y, batch, eps, device, repeats):
    left = {}

    def ours():
        start = torch.cat([_start(part, eps) for part in x.split(batch)])
        attacked = pgd(
            model, x, y, Ball(eps), start, loss="xent", steps=STEPS, step_size=eps / 30, batch_size=batch
        )
        left["ours"] = is_correct(model, x, y) & ~attacked.broken

    def theirs():
        parts = zip(x.split(batch), y.split(batch), strict=True)
        left["theirs"] = is_correct(model, torch.cat([attack(model, *part, eps) for part in parts]), y)

    pgd(model, x[:8], y[:8], Ball(eps), x[:8], loss="xent", steps=2, step_size=0.01)
    attack(model, x[:8], y[:8], eps)
    seconds, alternative = taking_turns(ours, theirs, device, repeats)
    survivors, others = int(left["ours"].sum()), int(left["theirs"].sum())
    # An iterate that was misclassified is a success that the last iterate may have lost again.
    same = survivors <= others and others - survivors <= 0.02 * len(x)
    return Row(
        f"PGD-40, ConvNet-4a, {len(x)} images in batches of {batch}, ε {eps:g}", seconds, name, alternative,
        peak_share(ours, seconds, device), f"left standing: {survivors} and {others} of {len(x)}", same,
    )  # fmt: skip


def _start(x: Tensor, eps: float) -> Tensor:
    """Draw the start that torchattacks draws first from the seed."""
    torch.manual_seed(0)
    return (x + torch.empty_like(x).uniform_(-eps, eps)).clamp(0, 1)


def _torchattacks(model, x, y, eps):
    import torchattacks

    attack = torchattacks.PGD(model, eps=eps, alpha=eps / 30, steps=STEPS, random_start=True)
    torch.manual_seed(0)
    return attack(x, y)


def _textbook(model, x, y, eps):
    points = _start(x, eps)
    for _ in range(STEPS):
        points.requires_grad_(True)
        loss = functional.cross_entropy(model(points), y)
        (gradient,) = torch.autograd.grad(loss, points)
        points = points.detach() + eps / 30 * gradient.sign()
        points = torch.clamp(torch.clamp(points, x - eps, x + eps), 0, 1)
    return points


ALTERNATIVES: dict[str, Callable[[torch.nn.Module, Tensor, Tensor, float], Tensor]] = {
    "torchattacks.PGD": _torchattacks,
    "textbook loop": _textbook,
}


def growth(quick: bool, device: torch.device) -> Iterator[Growth]:
    model, (pixels, digits) = classifier(device), images(device)

    def prepare(count):
        x, y = pixels[:count], digits[:count]
        return lambda: pgd(
            model, x, y, Ball(0.02), x, loss="xent", steps=4, step_size=0.002, batch_size=count
        )

    sizes = (32, 64, 128) if quick else (64, 128, 256, 512)
    yield growth_of("four steps of PGD, ConvNet-4a, one batch", "images", sizes, prepare, device)
