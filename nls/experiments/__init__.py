"""The experiments of the paper, one recipe a file, and the suites that list them."""

from typing import TYPE_CHECKING, Any

from nls.experiments.recipes import RECIPES, recipe, run_spec

if TYPE_CHECKING:
    from nls.experiments.suite import Suite, load_suite, require_files

__all__ = ["RECIPES", "Suite", "load_suite", "recipe", "require_files", "run_spec"]


def __getattr__(name: str) -> Any:
    # A suite imports every recipe, with packages that take a second; a run does not need them.
    if name not in ("Suite", "load_suite", "require_files"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nls.experiments import suite

    return getattr(suite, name)
