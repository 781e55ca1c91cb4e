"""Attacks on classifiers, and honest reports of what they leave."""

from nls.attacks.adversarial import check_adversarial, read_adversarial, save_adversarial
from nls.attacks.ball import Ball, Norm
from nls.attacks.checks import model_warnings
from nls.attacks.library import LIBRARY_ATTACKS, Effort, library_attack
from nls.attacks.masking import masking_reasons, vanishing_share
from nls.attacks.model import channels_last, check_examples, is_correct, under_attack
from nls.attacks.nearest import NearestPoints, nearest_beyond
from nls.attacks.pgd import LOSSES, NEVER, Attacked, Loss, ascend, pgd
from nls.attacks.report import ATTACKS, AttackReport, CarryOut, at_once, attack

__all__ = [
    "ATTACKS",
    "LIBRARY_ATTACKS",
    "LOSSES",
    "NEVER",
    "AttackReport",
    "Attacked",
    "Ball",
    "CarryOut",
    "Effort",
    "Loss",
    "NearestPoints",
    "Norm",
    "ascend",
    "at_once",
    "attack",
    "channels_last",
    "check_adversarial",
    "check_examples",
    "is_correct",
    "library_attack",
    "masking_reasons",
    "model_warnings",
    "nearest_beyond",
    "pgd",
    "read_adversarial",
    "save_adversarial",
    "under_attack",
    "vanishing_share",
]
