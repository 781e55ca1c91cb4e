"""A suite: a configuration file, its experiments, and the specs they expand into."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, create_model, field_validator

from nls.engine.files import holds, write_if_changed
from nls.engine.finished import METRICS
from nls.engine.settings import Device, Name, RunSpec, Settings, parse
from nls.engine.yaml_files import yaml_text
from nls.errors import UserError
from nls.experiments.common import (
    Common,
    ExperimentConfig,
    PathText,
    results_directory,
    run_directory,
    spec_file,
)
from nls.experiments.recipes import RECIPES, recipe

# One optional key an experiment; one that is left out is not run.
_keys: dict[str, Any] = {name: (recipe(name).Config | None, None) for name in RECIPES}
Experiments = create_model("Experiments", __base__=Settings, **_keys)


class SuiteConfig(Settings):
    """A configuration file."""

    suite: Name = Field(max_length=100, description="name of the folders below results/ and reports/")
    data_root: PathText = Field("data", description="folder of the datasets")
    mirror: PathText | None = Field(
        None, description="folder or http address to fetch datasets from (see docs/data.md)"
    )
    device: Device = Field("auto", description="where runs compute; auto takes a GPU if there is one")
    checkpoint_minutes: float = Field(5.0, gt=0, description="minutes between two checkpoints of a run")
    max_runtime: int = Field(
        4320, ge=1, description="minutes at which the time limit of repeated attempts stops to grow"
    )
    experiments: Experiments = Field(description="what the suite runs")

    @field_validator("suite")
    @classmethod
    def _not_the_reference(cls, name: str) -> str:
        if name == "reference":
            raise ValueError("results/reference holds the runs that are kept: take another name")
        return name

    @field_validator("experiments")
    @classmethod
    def _some(cls, experiments: Any) -> Any:
        if all(getattr(experiments, name) is None for name in RECIPES):
            raise ValueError(f"name at least one of {', '.join(RECIPES)}")
        return experiments


@dataclass(frozen=True)
class Suite:
    """A checked configuration and the specs of its runs, by experiment."""

    config: SuiteConfig
    specs: dict[str, list[RunSpec]]

    def experiment(self, name: str) -> ExperimentConfig:
        """Return the settings of one experiment of the suite."""
        return getattr(self.config.experiments, name)

    def spec(self, experiment: str, run: str) -> RunSpec:
        """Return the spec of one run.

        Raises:
            UserError: the suite has no such run.
        """
        try:
            return self._by_name[experiment, run]
        except KeyError:
            raise UserError(
                f"{experiment} has no run {run!r}; take one of results/{self.config.suite}/specs/{experiment}/*.yaml"
            ) from None

    @cached_property
    def _by_name(self) -> dict[tuple[str, str], RunSpec]:
        return {(name, spec.run): spec for name, specs in self.specs.items() for spec in specs}

    def write_spec(self, experiment: str, run: str) -> None:
        """Write a run's spec; an unchanged file keeps its time stamp, so only a changed run is run again."""
        _write(self.spec(experiment, run))

    def has_written(self, experiment: str, run: str) -> bool:
        """Tell whether the spec on the disk is that of the run."""
        spec = self.spec(experiment, run)
        return holds(spec_file(spec), _spec_text(spec))

    def write_specs(self) -> None:
        """Write every spec, and delete those of runs that the suite no longer asks for; their results stay."""
        wanted = set()
        for spec in (spec for specs in self.specs.values() for spec in specs):
            _write(spec)
            wanted.add(spec_file(spec))
        for path in (results_directory(self.config.suite) / "specs").glob("*/*.yaml"):
            if path not in wanted:
                path.unlink()


def _write(spec: RunSpec) -> None:
    if write_if_changed(spec_file(spec), _spec_text(spec)):
        _make_older(run_directory(spec) / METRICS, spec_file(spec))


def _spec_text(spec: RunSpec) -> str:
    return yaml_text(spec.model_dump(mode="json"))


def load_suite(values: dict[str, Any], source: str) -> Suite:
    """Check a configuration and expand its experiments into specs.

    Raises:
        UserError: a key is unknown or has a wrong type or value; the message names ``source`` and the key.
    """
    config = parse(SuiteConfig, values, source)
    common = Common(
        suite=config.suite,
        device=config.device,
        data_root=config.data_root,
        checkpoint_minutes=config.checkpoint_minutes,
    )
    specs: dict[str, list[RunSpec]] = {}
    for name in RECIPES:
        settings = getattr(config.experiments, name)
        if settings is not None:
            try:
                specs[name] = recipe(name).expand(settings, common)
            except UserError as error:
                raise UserError(f"{source}: experiments.{name}: {error}") from error
            _require_distinct(specs[name], f"{source}: experiments.{name}")
    _require_runs(specs, config.suite, source)
    return Suite(config, specs)


def _make_older(result: Path, spec: Path) -> None:
    """Let a result look older than its changed spec even if the clock was set back, so that it is made again."""
    before = spec.stat().st_mtime - 1
    if result.exists() and result.stat().st_mtime > before:
        os.utime(result, (before, before))


def _require_runs(specs: Mapping[str, Sequence[RunSpec]], suite: str, source: str) -> None:
    """Check that the runs whose results others read are asked for too."""
    there = {str(run_directory(spec) / METRICS) for runs in specs.values() for spec in runs}
    for experiment, runs in specs.items():
        for path in (path for spec in runs for path in spec.files_read()):
            if Path(path).is_relative_to(results_directory(suite)) and path not in there:
                raise UserError(
                    f"{source}: experiments.{experiment}: the suite has no run {Path(path).parent}"
                )


def _require_distinct(specs: Sequence[RunSpec], place: str) -> None:
    named: dict[str, RunSpec] = {}
    for spec in specs:
        other = named.setdefault(spec.run, spec)
        if other is not spec:
            remedy = (
                "remove one" if other == spec else "let their names differ in letters from A to Z or digits"
            )
            raise UserError(f"{place}: two runs would be named {spec.run!r}: {remedy}")


def missing_files(specs: Iterable[RunSpec]) -> list[str]:
    """Return the user's own files that runs read and that are not there; what other runs leave will be in time."""
    files = dict.fromkeys(path for spec in specs for path in spec.files_read())
    return [path for path in files if Path(path).parts[0] != "results" and not Path(path).exists()]


def require_files(suite: Suite, source: str) -> None:
    """Check that the user's own files are there, before Snakemake asks for a rule that makes them.

    Raises:
        UserError: one is not; the message names ``source`` and the first key of the config that names the file.
    """
    for experiment, specs in suite.specs.items():
        for path in missing_files(specs):
            values = suite.experiment(experiment).model_dump()
            key = next(_keys_naming(path, values, f"experiments.{experiment}"), f"experiments.{experiment}")
            raise UserError(f"{source}: {key}: there is no file {path}; name one relative to this directory")


def _keys_naming(path: str, value: Any, key: str) -> Iterator[str]:
    """Yield the keys of a config that are, or whose values are, a file or something in it (``FILE.py:NAME``)."""
    if isinstance(value, str) and (value == path or value.startswith(f"{path}:")):
        yield key
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for name, inside in entries:
        yield from _keys_naming(path, name, f"{key}.{name}")
        yield from _keys_naming(path, inside, f"{key}.{name}")
