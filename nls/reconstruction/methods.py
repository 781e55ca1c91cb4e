"""The methods of reconstruction by name: what a configuration and ``--method`` can ask for."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from nls.engine.user_code import is_user_code
from nls.errors import UserError
from nls.reconstruction.atlasnet import AtlasNetMethod
from nls.reconstruction.igr import Igr
from nls.reconstruction.levelset import LEVELSET_PAPER, LevelSet
from nls.reconstruction.poisson import Poisson
from nls.reconstruction.user_method import UserMethod


def _kind(value: Any) -> str | None:
    name = value.get("method") if isinstance(value, Mapping) else getattr(value, "method", None)
    return "user" if isinstance(name, str) and is_user_code(name) else name


Method = Annotated[
    Annotated[LevelSet, Tag("levelset")]
    | Annotated[Igr, Tag("igr")]
    | Annotated[AtlasNetMethod, Tag("atlasnet")]
    | Annotated[Poisson, Tag("poisson")]
    | Annotated[UserMethod, Tag("user")],
    Discriminator(
        _kind,
        custom_error_type="unknown_method",
        custom_error_message="method: take one of levelset, igr, atlasnet, poisson, or FILE.py:CLASS",
    ),
]

NamedMethod = LevelSet | Igr | AtlasNetMethod | Poisson

METHODS: dict[str, NamedMethod] = {
    "levelset": LevelSet(),
    "levelset-paper": LEVELSET_PAPER,
    "poisson": Poisson(),
    "igr": Igr(),
    "igr-normals": Igr(normals=True, outside_weight=30.0),
    "atlasnet-sphere": AtlasNetMethod(patches=1, template="sphere"),
    "atlasnet-1": AtlasNetMethod(patches=1),
    "atlasnet-25": AtlasNetMethod(),
}


def method_named(name: str) -> NamedMethod:
    """Return the settings of one of :data:`METHODS`.

    Raises:
        UserError: none has this name.
    """
    if name not in METHODS:
        raise UserError(f"unknown method {name!r}: take one of {', '.join(METHODS)}")
    return METHODS[name]
