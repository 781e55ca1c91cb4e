"""``nls data fetch``: every dataset by name."""

from pathlib import Path
from typing import Any

from nls.data import images, store
from nls.errors import UserError

DATASETS = (*images.IMAGE_SETS, "bodies", "faust", "curves")


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

    def make(folder: Path, scratch: Path) -> dict[str, Any]:
        # Imported here, so that verifying a complete set does not wait for torch.
        if name == "digits":
            return {**images.write_images(folder, name, *images.digits()), "source": "scikit-learn"}
        from nls.data.official import make_official

        return make_official(name, mirror, folder, scratch)

    store.build(root, name, {"recipe": images.RECIPE}, make)
    print(f"{name}: complete in {root / name}")
