"""What a config may set of a loss: the parameters of its constructor, within the bounds of their types."""

import inspect
from collections.abc import Mapping
from typing import Annotated, Any, get_type_hints

from pydantic import Field, create_model

from nls.engine.settings import Settings, parse

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
