"""Losses from configs: what one may set, the parameters of a constructor within their types' bounds, and the loss."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_type_hints

from pydantic import Field, create_model

from nls.engine.settings import Settings, parse
from nls.engine.user_code import is_user_code, make_user_object
from nls.errors import UserError

Radius = Annotated[float, Field(ge=0, le=1)]
"""A distance in pixel values, which lie in [0, 1]."""
PositiveRadius = Annotated[float, Field(gt=0, le=1)]
"""A distance in pixel values that others are divided by."""
StepSize = Annotated[float, Field(gt=0, le=1)]
"""A step in pixel values."""
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
BelowHalf = Annotated[float, Field(gt=0, lt=0.5)]


def check_settings(kind: type, settings: Mapping[str, Any], source: str) -> None:
    """Compare settings with the parameters of a loss's constructor.

    Raises:
        UserError: one is unknown, missing, of another type or out of bounds; the message names ``source``.
    """
    constructor = next(vars(each)["__init__"] for each in kind.__mro__ if "__init__" in vars(each))
    fields: dict[str, Any] = {}
    if constructor is not object.__init__:
        types = get_type_hints(constructor, include_extras=True)
        for each in list(inspect.signature(constructor).parameters.values())[1:]:
            fields[each.name] = types[each.name], ... if each.default is each.empty else each.default
    parse(create_model(kind.__name__, __base__=Settings, **fields), dict(settings), source)


def make_loss(
    name: str,
    kinds: Mapping[str, type],
    settings: Mapping[str, Any],
    arguments: Sequence[str] = ("network", "points", "labels"),
) -> Any:
    """Return the loss ``name`` of ``kinds``, or a user's ``file.py:Class``, built with ``settings``.

    The loss will be called with ``arguments``.

    Raises:
        UserError: an unknown loss, settings that its class does not take, or a user's file that cannot be loaded or
            whose class cannot be called so.
    """
    if not is_user_code(name):
        if name not in kinds:
            raise UserError(f"unknown loss {name!r}: take one of {', '.join(kinds)}, or FILE.py:CLASS")
        check_settings(kinds[name], settings, f"the settings of {name}")
        return kinds[name](**settings)
    return make_user_object(name, settings, arguments)
