"""The experiments of the paper, one recipe a file, and the suites that list them."""

from nls.experiments.suite import RECIPES, Suite, load_suite, run_spec

__all__ = ["RECIPES", "Suite", "load_suite", "run_spec"]
