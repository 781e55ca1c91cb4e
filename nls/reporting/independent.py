"""Evaluations by others: the public AutoAttack leaderboard, standard version, full test sets.

Source: the leaderboard of AutoAttack (F. Croce and M. Hein, *Reliable evaluation of adversarial robustness with an
ensemble of diverse parameter-free attacks*, 2020), https://github.com/fra31/auto-attack. It evaluates networks that
their authors published. Two of them are rows of the paper's Table 1: both of "ours". The networks of its rows for
Madry et al. and TRADES were not published; the leaderboard's networks of these names are other ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass

SOURCE = "the public AutoAttack leaderboard (github.com/fra31/auto-attack), standard version, all test images"


@dataclass(frozen=True)
class Evaluation:
    """One row of the leaderboard, percent.

    Attributes:
        network: whose it is, and how it was made.
        eps: radius of the L∞ ball, as the leaderboard writes it.
        clean: accuracy without an attack.
        reported: robust accuracy in its authors' paper.
        autoattack: robust accuracy under AutoAttack.
    """

    network: str
    eps: str
    clean: float
    reported: float
    autoattack: float


# Rows of Table 1 whose very networks were evaluated: dataset, network, method, ε_train. Clean and reported accuracy
# are those of the row (its margin attack), to the last digit.
ROWS: Mapping[tuple[str, str, str, float | None], Evaluation] = {
    ("mnist", "convnet4a-linear-head", "ours", 0.4): Evaluation(
        "Atzmon et al. 2019", "0.3", 99.35, 97.35, 90.85
    ),
    ("cifar10", "resnet18", "ours", 0.045): Evaluation(
        "Atzmon et al. 2019, ResNet-18", "0.031", 81.30, 43.17, 40.22
    ),
}

# Networks of others, by dataset: none of them is a row of Table 1.
OTHERS: Mapping[str, tuple[Evaluation, ...]] = {
    "mnist": (
        Evaluation("TRADES (Zhang et al. 2019b)", "0.3", 99.48, 95.60, 92.81),
        Evaluation("MMA (Ding et al. 2020)", "0.3", 98.95, 92.59, 91.40),
        Evaluation("Madry et al. 2018", "0.3", 98.53, 89.62, 88.50),
        Evaluation("single-step training (Wong et al. 2020)", "0.3", 98.50, 88.77, 82.93),
    ),
    "cifar10": (
        Evaluation("TRADES (Zhang et al. 2019b), WRN-34-10", "0.031", 84.92, 56.43, 53.08),
        Evaluation("single-step training (Wong et al. 2020), ResNet-18", "8/255", 83.34, 46.06, 43.21),
    ),
}


def notes(dataset: str) -> list[str]:
    """Return one line on the leaderboard's networks for a dataset; none where it has none."""
    others = OTHERS.get(dataset)
    if others is None:
        return []
    told = "; ".join(f"{one.network}, ε {one.eps}: {one.clean:.2f} / {one.autoattack:.2f}" for one in others)
    return [
        f"{dataset}, independent: {SOURCE}, of the very networks of the paper's rows. Its other networks "
        f"are their own authors', not rows of the paper (clean / AutoAttack): {told}."
    ]
