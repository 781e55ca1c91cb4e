"""Colours and settings shared by all figures."""

import matplotlib as mpl
from cycler import cycler

BLUE, RED = "#2166ac", "#b2182b"
LIGHT_BLUE, LIGHT_RED = "#d1e5f0", "#fddbc7"
SEQUENCE = ("#b2182b", "#4d4d4d", "#2166ac", "#1b7837", "#762a83", "#e08214")


def use_house_style() -> None:
    """Set matplotlib up for files: no display, readable type, no chart junk."""
    mpl.use("Agg")
    mpl.rcParams.update(
        {
            "axes.grid": False,
            "axes.prop_cycle": cycler(color=SEQUENCE),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "figure.dpi": 100,
            "font.size": 10,
            "legend.frameon": False,
            "savefig.bbox": "tight",
            "savefig.dpi": 160,
        }
    )
