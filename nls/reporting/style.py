"""Colours and settings shared by all figures."""

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# The files of a figure, each with the metadata that leaves out when and by which version it was drawn.
FORMATS: dict[str, dict[str, str | None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}

BLUE, RED = "#2166ac", "#b2182b"
LIGHT_BLUE, LIGHT_RED = "#d1e5f0", "#fddbc7"
# Okabe and Ito's colours, told apart with every kind of colour vision.
SEQUENCE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def in_legend(name: str) -> str:
    """Return a label that legends show: matplotlib leaves out one that begins with an underscore."""
    return f"\u200b{name}" if name.startswith("_") else name


def say_missing(axis: Axes, reason: str) -> None:
    """Write in an empty panel why nothing is drawn there."""
    axis.set_axis_off()
    axis.text(0.5, 0.5, f"missing: {reason}", ha="center", va="center", transform=axis.transAxes, wrap=True)


def missing_figure(reason: str) -> Figure:
    """Return a figure that says why there is nothing in it."""
    picture = Figure(figsize=(4, 2))
    say_missing(picture.subplots(), reason)
    return picture


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
            # TrueType fonts, which publishers ask for.
            "pdf.fonttype": 42,
            "savefig.bbox": "tight",
            "savefig.dpi": 160,
            # Equal figures have equal bytes: names inside an SVG come from this word.
            "svg.hashsalt": "nls",
        }
    )
