"""Training losses of classifiers by name, for configs."""

from collections.abc import Mapping
from typing import Any

from nls.objectives.base import ClassifierLoss
from nls.objectives.cross_entropy import Standard
from nls.objectives.distance_in_linf import DistanceInLinf
from nls.objectives.dyart import DyART
from nls.objectives.hat import HAT
from nls.objectives.large_margin import LargeMargin
from nls.objectives.madry import Madry
from nls.objectives.mart import MART
from nls.objectives.mma import MMA
from nls.objectives.outer_level import OuterLevel
from nls.objectives.robust import RobustLevelSets
from nls.objectives.settings import make_loss
from nls.objectives.trades import Trades

METHODS: Mapping[str, type] = {
    "standard": Standard,
    "madry": Madry,
    "trades": Trades,
    "ours": RobustLevelSets,
    "ours-level": OuterLevel,
    "ours-linf": DistanceInLinf,
    "mma": MMA,
    "mart": MART,
    "hat": HAT,
    "dyart": DyART,
    "large-margin": LargeMargin,
}


def make_method(name: str, settings: Mapping[str, Any]) -> ClassifierLoss:
    """Return the loss of a method of :data:`METHODS`, or of a user's ``file.py:Class``, built with ``settings``.

    Raises:
        UserError: an unknown method, settings that it does not take, or a user's file that cannot be loaded or whose
            class cannot be called as a :class:`ClassifierLoss`.
    """
    return make_loss(name, METHODS, settings, ("model", "images", "labels", "moment"))
