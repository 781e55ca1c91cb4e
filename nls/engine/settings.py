"""Settings read from YAML: strict models whose errors name the file, the key and what is allowed."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import pydantic
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from nls.errors import UserError, did_you_mean, shortened

Device = Literal["auto", "cpu", "cuda"]


class Settings(BaseModel):
    """Base of every configuration and spec: unknown keys and wrong types are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def matching(pattern: str, otherwise: str) -> AfterValidator:
    """Return a check that the whole of a text matches a pattern; ``otherwise`` says in words what is allowed."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(otherwise)
        return text

    return AfterValidator(check)


Name = Annotated[
    str,
    matching(
        r"[A-Za-z0-9][A-Za-z0-9._-]*",
        "take letters from A to Z, digits, '.', '_' and '-', a letter or a digit first",
    ),
]
"""What can be the name of a folder anywhere."""


class RunSpec(Settings):
    """What every run's spec holds; each experiment adds its own settings.

    ``experiment/run`` names the run's directory inside the suite's results.
    """

    suite: str
    experiment: str
    run: Name
    device: Device = "auto"
    threads: int = Field(1, ge=1, le=1024)
    data_root: str = "data"
    checkpoint_minutes: float = Field(5.0, gt=0)

    def datasets(self) -> list[str]:
        """Names of the datasets that must have been fetched before the run."""
        return []

    def files_read(self) -> list[str]:
        """Further files that the run reads: the user's code and data, the results of other runs."""
        return []

    def needs(self) -> list[str]:
        """Files that must exist before the run: receipts of its datasets, and the files that it reads."""
        return [f"{self.data_root}/{name}/complete.json" for name in self.datasets()] + self.files_read()

    def summary(self) -> str:
        """Return what the list of jobs says of the run, in one line."""
        return f"threads {self.threads}"

    def identity(self) -> str:
        """Fingerprint of what decides the results: these settings, and the contents of the needed files."""
        found = hashlib.sha256(repr(deciding(self.model_dump(mode="json"))).encode())
        for path in map(Path, self.needs()):
            found.update(hashlib.sha256(path.read_bytes() if path.is_file() else b"").digest())
        return found.hexdigest()


# File systems allow 255 bytes, of which endings and temporary names take some.
_LONGEST_NAME = 200


def run_name(*parts: str, seed: int = 0) -> str:
    """Return a run's name; seed 0 is not named, so that asking for more seeds keeps the run that is there.

    Raises:
        UserError: it would begin with neither a letter from A to Z nor a digit, or is too long.
    """
    asked = "-".join(parts if seed == 0 else (*parts, f"seed{seed}"))
    name = re.sub(r"[^A-Za-z0-9._-]", "_", asked)
    if not name[:1].isalnum():
        raise UserError(f"a run cannot be named {asked!r}: begin with a letter from A to Z or a digit")
    if len(name) > _LONGEST_NAME:
        raise UserError(
            f"a run cannot be named {shortened(asked)}: take names of {_LONGEST_NAME} letters together"
        )
    return name


def without_seed(name: str) -> str:
    """Return a run's name as it is with seed 0."""
    return re.sub(r"-seed\d+$", "", name)


# Settings of a run that say where and how it is carried out, not what it computes.
_NOT_DECIDING = ("device", "data_root", "checkpoint_minutes")


def deciding(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run's spec that decide its results."""
    return {key: value for key, value in spec.items() if key not in _NOT_DECIDING}


def first_difference(spec: Any, other: Any, key: str = "") -> str | None:
    """Return the first key in which two specs differ, with both values in words; None if they are equal.

    A key that one of them lacks counts as null or false there: runs of an earlier version, which did not have it,
    were made as those that now leave it out.
    """
    if isinstance(spec, dict) and isinstance(other, dict):
        for name in dict.fromkeys((*spec, *other)):
            place = f"{key}.{name}" if key else str(name)
            if found := first_difference(spec.get(name), other.get(name), place):
                return found
        return None
    if spec == other or all(value is None or value is False for value in (spec, other)):
        return None
    return f"{key} {spec}, not {other}"


Model = TypeVar("Model", bound=BaseModel)
# Of what a message repeats of the input.
_LONGEST = 100


def parse(model: type[Model], values: dict[str, Any], source: str) -> Model:
    """Check ``values`` against ``model``.

    Raises:
        UserError: names ``source``, the first wrong key, and the allowed values.
    """
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        raise UserError(f"{source}: {_first_problem(model, error)}") from error


@contextmanager
def told_with_key() -> Iterator[None]:
    """Let bad input that a validator of a key comes upon be told as any other wrong value of the key."""
    try:
        yield
    except UserError as error:
        raise ValueError(str(error)) from error


def _first_problem(model: type[BaseModel], error: pydantic.ValidationError) -> str:
    # An unknown key explains the missing one that it was meant to be, so it goes first.
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    problem = problems[0]
    key, allowed = _place(model, problem["loc"])
    if problem["type"] == "extra_forbidden":
        hint = did_you_mean(str(problem["loc"][-1]), allowed)
        rest = f"{hint}allowed: {', '.join(allowed)}" if allowed else "it takes no settings"
        return f"unknown key {key!r}; {rest}"
    if problem["type"] == "missing":
        return f"key {key!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error" and isinstance(problem["input"], Mapping) and problem["input"]:
        return f"{key}: {message}"  # it names what is wrong within
    shown = shortened(repr(problem["input"]), _LONGEST)
    return f"{key}: {shown} is not allowed: {message[0].lower()}{message[1:]}"


def _place(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """Return a location as a config has it, without the tags of unions, and the keys of the model that holds it."""
    kind: Any = model
    key: list[str] = []
    for part in location[:-1]:
        if (tagged := _tagged(kind, part)) is not None:
            kind = _bare(tagged)
        else:
            kind = _bare(_entry(kind, part))
            key.append(str(part))
    return ".".join([*key, str(location[-1])] if location else []), list(_fields(kind))


def _tagged(kind: Any, tag: int | str) -> Any:
    """Return the model with a tag in a union; None if the type is no union, or has no such model."""
    return next((option for option in get_args(kind) if pydantic.Tag(str(tag)) in get_args(option)), None)


def _entry(kind: Any, part: int | str) -> Any:
    """Return the type of a model's field, of a dictionary's values or of a list's items."""
    fields = _fields(kind)
    return fields[str(part)].annotation if str(part) in fields else (get_args(kind) or (None,))[-1]


def _fields(kind: Any) -> dict[str, Any]:
    return kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}


def _bare(annotation: Any) -> Any:
    """Return a type without what ``Annotated`` adds to it, and without ``None`` beside it."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    options = [option for option in get_args(annotation) if option is not NoneType]
    optional = get_origin(annotation) in (Union, UnionType) and len(options) == 1
    return _bare(options[0]) if optional else annotation
