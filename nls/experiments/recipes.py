"""The experiments' recipes by name. Each is imported when it is asked for: a run needs its own alone."""

import importlib
from pathlib import Path
from types import ModuleType

from nls.engine.runs import execute
from nls.engine.settings import parse
from nls.engine.yaml_files import read_yaml
from nls.errors import UserError

RECIPES = (
    "figure1",
    "figure2",
    "table1",
    "blackbox",
    "table2",
    "table2-time",
    "figure3",
    "hard_inputs",
    "universality",
)


def recipe(name: str) -> ModuleType:
    """Return the module of an experiment: its ``Config`` and ``Spec``, and its functions ``expand`` and ``run``."""
    return importlib.import_module(f"nls.experiments.{name.replace('-', '_')}")


def run_spec(path: Path, directory: Path) -> None:
    """Carry out the run of a spec file in ``directory``.

    Raises:
        UserError: the spec is not one that an experiment can read, or the directory holds another run.
        RunError: the run failed.
    """
    values = read_yaml(path)
    name = values.get("experiment")
    if name not in RECIPES:
        raise UserError(f"{path}: experiment: {name!r} is not allowed: take one of {', '.join(RECIPES)}")
    experiment = recipe(name)
    execute(parse(experiment.Spec, values, str(path)), experiment.run, directory)
