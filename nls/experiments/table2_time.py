"""Error against time, beside Table 2: long trainings whose surface is measured on the way."""

from typing import Any, Literal

from pydantic import Field

from nls.engine.runs import Run
from nls.engine.settings import run_name
from nls.experiments import table2
from nls.experiments.common import Common, seed_list

# Surfaces are measured after 10^(−k/8) of the training: 18 of them between 0.6% and 75%, each a third later.
LOOKS = [10 ** (-k / 8) for k in range(18, 0, -1)]


class Config(table2.Config):
    """Settings of the error against time."""

    scans: list[int] | None = Field([0, 2], min_length=1, description="numbers of the scans")
    seconds: list[float] = Field(
        [10.0, 30.0, 100.0, 300.0, 1000.0],
        min_length=1,
        description="columns of the table; the methods' steps decide how long they train",
    )


class Spec(table2.ScanSpec):
    """One run of the error against time."""

    experiment: Literal["table2-time"]
    seconds: list[float]


def expand(config: Config, common: Common) -> list[Spec]:
    """Return one run for each method, scan and seed."""
    return [
        Spec(
            **common.base("table2-time", run_name(name, case["scan_name"], seed=seed), config.threads),
            **case,
            looks=LOOKS,
            seconds=config.seconds,
            data=config.data,
            name=name,
            method=method,
            resolution=config.resolution,
            max_points=config.max_points,
            seed=seed,
        )
        for name, method in config.methods.items()
        for case in table2.cases(config)
        for seed in seed_list(config.seeds)
    ]


def run(spec: Spec, run: Run) -> dict[str, Any]:
    """Reconstruct as in Table 2; the curve's steps and errors are metrics, its seconds are in the provenance."""
    return table2.run(spec, run)
