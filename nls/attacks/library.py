"""Attacks of the torchattacks package: APGD on two losses, targeted APGD, FAB and Square (Croce and Hein, 2020).

What this file changes: settings are those of the authors' standard version (the package has ten steps instead of a
hundred, also inside its ``AutoAttack``, and stretches Square's schedule of sizes to the number of queries); targeted
APGD in L2 takes each example's own step size, where the package takes the first one's for all; the global random
state and the parameters' gradients stay as they were; the module and each of its parts gets its own mode back; and
the package's verdict is not used: points are cut to the ball and judged by the caller.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nls.attacks.ball import Ball, Norm
from nls.attacks.model import under_attack
from nls.errors import UserError

LibraryAttack = Literal["apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square"]


@dataclass(frozen=True)
class Effort:
    """How long the attacks work; the defaults are those of AutoAttack's standard version.

    Attributes:
        apgd_steps: steps of APGD, and of targeted APGD for every target.
        fab_steps: steps of targeted FAB for every target.
        queries: forward passes of Square an example.
    """

    apgd_steps: int = 100
    fab_steps: int = 100
    queries: int = 5000

    def __post_init__(self) -> None:
        for name in ("apgd_steps", "fab_steps", "queries"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}")


LIBRARY_ATTACKS: tuple[LibraryAttack, ...] = ("apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square")

# AutoAttack's standard version, and its version for models that draw random numbers.
AUTOATTACK: tuple[LibraryAttack, ...] = ("apgd-ce", "apgd-t", "fab-t", "square")
AUTOATTACK_RANDOMISED: tuple[LibraryAttack, ...] = ("apgd-ce", "apgd-dlr")

# Wrong classes that a targeted attack tries, the likeliest first: nine in the standard version.
_TARGETS = 9


def targets(classes: int) -> int:
    """Return how many wrong classes a targeted attack tries on a model of so many classes."""
    return min(classes - 1, _TARGETS)


def library_attack(
    name: LibraryAttack,
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    ball: Ball,
    *,
    classes: int,
    effort: Effort,
    seed: int,
    passes: int = 1,
) -> Float[Tensor, "n c h w"]:
    """Return the attack's points, in the ball, all examples at once; equal seeds give equal points.

    APGD's gradients are means over ``passes``, for a model that draws random numbers.

    Raises:
        UserError: APGD on the DLR loss, or targeted APGD, on fewer than three and four classes, where their loss is
            not defined; Square in L2 on images of fewer than 5 × 5 pixels.
    """
    require_defined([name], classes, ball.norm, images.shape)
    norm = {"linf": "Linf", "l2": "L2"}[ball.norm]
    devices = [images.device] if images.device.type == "cuda" else []
    with under_attack(model), torch.random.fork_rng(devices=devices):
        attacker = _attacker(name, model, classes, effort, passes, eps=ball.eps, norm=norm, seed=seed)
        attacker.set_device(images.device)
        # FAB takes views, which images with their channels last do not have.
        points = attacker(images.contiguous(), labels).detach()
    return ball.clip(points, images)


def ensemble_of(*, randomised: bool) -> tuple[LibraryAttack, ...]:
    """Return AutoAttack's members, for a model that draws random numbers or not."""
    return AUTOATTACK_RANDOMISED if randomised else AUTOATTACK


def members(attacks: Sequence[str], *, randomised: bool = False) -> list[str]:
    """Return the attacks with AutoAttack's members, for a model that draws random numbers or not, in its place."""
    ensemble = ensemble_of(randomised=randomised)
    return [each for name in attacks for each in (ensemble if name == "autoattack" else (name,))]


def require_defined(attacks: Sequence[str], classes: int, norm: Norm, shape: Sequence[int]) -> None:
    """Check, before any work, that attacks are defined for so many classes and images of shape ``(n, c, h, w)``.

    Raises:
        UserError: see :func:`library_attack`.
    """
    if "apgd-dlr" in attacks and classes < 3:
        raise UserError(f"the DLR loss needs three classes, not {classes}: leave out apgd-dlr")
    if "apgd-t" in attacks and classes < 4:
        raise UserError(f"targeted APGD needs four classes, not {classes}: leave out apgd-t and autoattack")
    if "square" in attacks and norm == "l2" and min(shape[2:]) < 5:
        raise UserError("Square in L2 needs images of 5 x 5 pixels or more: leave out square and autoattack")


def _attacker(
    name: LibraryAttack, model: nn.Module, classes: int, effort: Effort, passes: int, **common: Any
) -> Any:
    torchattacks = _package(name)
    # The package counts the true class, too.
    classes = targets(classes) + 1
    match name:
        case "apgd-ce":
            return torchattacks.APGD(model, steps=effort.apgd_steps, loss="ce", eot_iter=passes, **common)
        case "apgd-dlr":
            return torchattacks.APGD(model, steps=effort.apgd_steps, loss="dlr", eot_iter=passes, **common)
        case "apgd-t":
            return _targeted_apgd()(
                model, steps=effort.apgd_steps, n_classes=classes, eot_iter=passes, **common
            )
        case "fab-t":
            return torchattacks.FAB(
                model, steps=effort.fab_steps, multi_targeted=True, n_classes=classes, **common
            )
        case "square":
            return torchattacks.Square(model, n_queries=effort.queries, resc_schedule=False, **common)


def _package(name: LibraryAttack) -> Any:
    # Imported here: torchattacks imports torchvision, and both take seconds that only these attacks need.
    from nls.engine.vision import torchvision  # noqa: F401

    try:
        import torchattacks  # isort: skip
    except ImportError as error:
        raise UserError(
            f"{name} needs torchattacks, whose declared dependencies are stale: run "
            "`pip install --no-deps torchattacks==3.5.1`, or ask for pgd-xent,pgd-margin alone"
        ) from error
    return torchattacks


@cache
def _targeted_apgd() -> Any:
    """Return targeted APGD with the steps of the untargeted one, where every example has its own size."""
    torchattacks = _package("apgd-t")

    class TargetedAPGD(torchattacks.APGDT):  # type: ignore[name-defined]
        loss = "dlr"

        def attack_single_run(self, images: Tensor, labels: Tensor) -> Any:
            with torch.no_grad():
                targets = self.get_logits(images).argsort(dim=1)[:, -self.target_class]
            self.dlr_loss = partial(self.dlr_loss_targeted, y_target=targets)
            return torchattacks.APGD.attack_single_run(self, images, labels)

    return TargetedAPGD
