"""``nls data fetch``: every dataset by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nls.data import images, store
from nls.errors import UserError

# Each set's recipe. A change of what a recipe writes raises its number, and every copy made before is made anew.
_RECIPES = {**dict.fromkeys(images.IMAGE_SETS, images.RECIPE), "bodies": 1, "faust": 1, "curves": 1}

DATASETS = tuple(_RECIPES)


def fetch(name: str, root: Path, mirror: str | None = None, archive: Path | None = None) -> None:
    """Bring ``<root>/<name>`` into being, complete and verified, with the receipt ``complete.json``.

    A set that is complete is verified against its receipt and left alone. ``mirror`` (a folder or an http
    address) serves the official image sets, ``archive`` (what the licence holder gave) is for FAUST.

    Raises:
        UserError: an unknown name, an option that the set does not take, or a set that cannot be had.
    """
    if name not in DATASETS:
        raise UserError(f"unknown dataset {name!r}: take one of {', '.join(DATASETS)}")
    if archive is not None and name != "faust":
        raise UserError(f"--archive is for faust: {name} takes none")

    def make(folder: Path, scratch: Path) -> Mapping[str, Any]:
        # Imported here, so that verifying a complete set does not wait for torch.
        match name:
            case "digits":
                return {**images.write_images(folder, name, *images.digits()), "source": "scikit-learn"}
            case "curves":
                from nls.data.curves import make_curves

                return make_curves(folder)
            case "bodies":
                from nls.data.bodies import make_bodies

                return make_bodies(folder)
            case "faust":
                from nls.data.faust import make_faust

                return make_faust(root, archive, folder)
            case _:
                from nls.data.official import make_official

                return make_official(name, mirror, folder, scratch)

    store.build(root, name, {"recipe": _RECIPES[name]}, make)
    print(f"{name}: complete in {root / name}")
