"""Error against time, beside Table 2: long trainings whose surface is measured on the way."""

from typing import Annotated, Any, Literal

from pydantic import Field

from nls.engine.runs import Run
from nls.experiments import table2
from nls.experiments.common import Common

# Surfaces are measured after 10^(−k/8) of the training: 18 of them between 0.6% and 75%, each a third later.
LOOKS = [10 ** (-k / 8) for k in range(18, 0, -1)]


class Config(table2.Config):
    """Settings of the error against time."""

    scans: list[int] | None = Field([0, 2], min_length=1, description="numbers of the scans")
    seconds: list[Annotated[float, Field(gt=0)]] = Field(
        [10.0, 30.0, 100.0, 300.0, 1000.0],
        min_length=1,
        description="seconds of the table's columns; how long a method trains is decided by its steps",
    )


class Spec(table2.ScanSpec):
    """One run of the error against time."""

    experiment: Literal["table2-time"]
    seconds: list[float]


def expand(config: Config, common: Common) -> list[Spec]:
    """Return one run for each method, scan and seed."""
    return table2.specs_of(Spec, "table2-time", config, common, looks=LOOKS, seconds=config.seconds)


def run(spec: Spec, run: Run) -> dict[str, Any]:
    """Reconstruct as in Table 2; the curve's steps and errors are metrics, its seconds are in the provenance."""
    return table2.run(spec, run)
