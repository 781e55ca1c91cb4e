"""torchvision, also beside a CPU build of torch: ``from nls.engine.vision import torchvision``.

A registry's torchvision may be a CUDA build. Beside a CPU torch its binary operators do not load, and its import
then fails on two operators whose schemas nothing has declared. Its datasets and transforms use neither operator,
so declaring the two schemas is all that is missing. Where the operators load, nothing is declared.
"""

import importlib.util
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _operators_load() -> bool:
    """Load torchvision's binary operators as its import will, and say whether that worked."""
    package = importlib.util.find_spec("torchvision")
    folders = package.submodule_search_locations if package is not None else None
    try:
        for folder in folders or ():
            for binary in Path(folder).glob("_C.*"):
                torch.ops.load_library(str(binary))
    except OSError:
        return False
    return hasattr(torch.ops.torchvision, "nms")


# The declarations live as long as this object does.
_declared: torch.library.Library | None = None
if torch.version.cuda is None and not _operators_load():
    _declared = torch.library.Library("torchvision", "FRAGMENT")
    for _schema in _SCHEMAS:
        _declared.define(_schema)

import torchvision  # noqa: E402

__all__ = ["torchvision"]
