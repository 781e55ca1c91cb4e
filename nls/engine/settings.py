"""Settings read from YAML: strict models whose errors name the file, the key and what is allowed."""

import difflib
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from nls.errors import UserError, shortened

Device = Literal["auto", "cpu", "cuda"]


class Settings(BaseModel):
    """Base of every configuration and spec: unknown keys and wrong types are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class RunSpec(Settings):
    """What every run's spec holds; each experiment adds its own settings.

    ``experiment/run`` names the run's directory inside the suite's results.
    """

    suite: str
    experiment: str
    run: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
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
        close = difflib.get_close_matches(str(problem["loc"][-1]), allowed, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return f"unknown key {key!r}; {hint}allowed: {', '.join(allowed)}"
    if problem["type"] == "missing":
        return f"key {key!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    shown = repr(problem["input"])
    return f"{key}: {shortened(shown, _LONGEST)} is not allowed: {message[0].lower()}{message[1:]}"


def _place(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """Return a location as a config has it, without the tags of unions, and the keys of the model that holds it."""
    current, annotation, key = model, None, []
    for part in location[:-1]:
        if part in current.model_fields:
            annotation = current.model_fields[str(part)].annotation
            current = _model_inside(annotation) or current
        elif (tagged := _model_inside(annotation, part)) is not None:
            current = tagged
            continue
        key.append(str(part))
    return ".".join([*key, str(location[-1])] if location else []), list(current.model_fields)


def _model_inside(annotation: Any, tag: int | str | None = None) -> Any:
    """Return the model class in an annotation such as ``Model | None`` or ``dict[str, Model]``; one with a tag."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation if tag is None else None
    parts = get_args(annotation)
    if any(isinstance(part, pydantic.Tag) and part.tag == tag for part in parts):
        tag = None
    inside = [_model_inside(part, tag) for part in parts]
    return next((found for found in inside if found is not None), None)
