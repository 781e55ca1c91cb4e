"""What attacks cost: passes of an example through the model."""

from nls.attacks.library import Effort, targets
from nls.attacks.report import ATTACKS, PGD_ATTACKS
from nls.errors import UserError

# Passes without a gradient that take as long as one with it. Measured on a CPU: 2.7 and 3.0 on ConvNet-4b and -4a,
# 1.9 on ResNet-18.
GRADIENT = 3


def most_passes(name: str, effort: Effort, classes: int, *, steps: int, starts: int) -> int:
    """Return the most that an attack can cost an example, in passes without a gradient: nothing breaks it before.

    A pass with a gradient counts as :data:`GRADIENT` of them. The few at the start of an attack are left out, and so
    is all but the passes: with FAB's projections its step takes as long as 3.7 to 5.2 passes on ConvNet-4b and -4a,
    not 4.

    Args:
        name: one of :data:`nls.attacks.ATTACKS`, but for ``autoattack``, which is several.
        effort: steps and queries of the library's attacks.
        classes: of the model: how many wrong ones a targeted attack can try.
        steps: of PGD.
        starts: of PGD.

    Raises:
        UserError: the name is that of no single attack.
    """
    match name:
        case _ if name in PGD_ATTACKS:
            return starts * (GRADIENT * steps + 1)
        case "apgd-ce" | "apgd-dlr":
            return GRADIENT * effort.apgd_steps
        case "apgd-t":
            return GRADIENT * effort.apgd_steps * targets(classes)
        case "fab-t":
            return (GRADIENT + 1) * effort.fab_steps * targets(classes)
        case "square":
            return effort.queries
    known = ", ".join(each for each in ATTACKS if each != "autoattack")
    raise UserError(f"{name!r} is no single attack: take one of {known}")
