"""What the experiments' configurations share."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from nls.data import IMAGE_SETS
from nls.engine.limits import LARGEST_SEED
from nls.engine.runs import Run
from nls.engine.settings import Device, RunSpec, Settings, matching

# Of one row or run; a table of more is a slip of the pen.
MOST_SEEDS = 10_000


def _check_seeds(seeds: Any) -> Any:
    least, numbers = (0, seeds) if type(seeds) is list else (1, [seeds])
    if not numbers or any(type(number) is not int or number < least for number in numbers):
        raise ValueError("give how many seeds (1 or more), or a list of seeds (each 0 or more)")
    if type(seeds) is list and max(numbers) > LARGEST_SEED:
        raise ValueError(f"a seed is at most {LARGEST_SEED}")
    if len(seeds) > MOST_SEEDS if type(seeds) is list else seeds > MOST_SEEDS:
        raise ValueError(f"at most {MOST_SEEDS} seeds")
    if len(set(numbers)) < len(numbers):
        raise ValueError("a seed is named twice")
    return seeds


# An accuracy on fewer images chooses by chance.
FEWEST_HELD_OUT = 50
# Braces would be wildcards to Snakemake; a line break, or nothing, is no path.
PathText = Annotated[
    str, matching(r"[^{}\x00-\x1f\x7f]+", "a path is not empty, and has no braces and no line breaks")
]


def is_dataset(name: str) -> bool:
    """Tell whether this can be the name of an image data set: a known one, or the path of an ``.npz`` file."""
    return name in IMAGE_SETS or name.endswith(".npz")


def _check_dataset(name: str) -> str:
    if not is_dataset(name):
        raise ValueError(f"take one of {', '.join(IMAGE_SETS)}, or the path of an .npz file")
    return name


DatasetName = Annotated[PathText, AfterValidator(_check_dataset)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Seeds = Annotated[int | list[int], BeforeValidator(_check_seeds)]


def seed_list(seeds: int | list[int]) -> list[int]:
    """Return the seeds that a number of them, or a list, stands for; a number counts from 0."""
    return list(range(seeds)) if isinstance(seeds, int) else seeds


def note_fewer_images(run: Run, key: str, asked: int | None, there: int) -> None:
    """Note in the provenance that a setting asks for more images than there are, and gets all; None asks for all."""
    if asked is not None and asked > there:
        run.note(f"{key} asks for {asked} images and there are {there}: all are taken")


class Resources(Settings):
    """What one job of an experiment asks of the scheduler."""

    mem_mb: int = Field(2000, ge=100, description="memory of a job, MB")
    runtime: int = Field(60, ge=1, description="time limit of a job, minutes")
    gpu: int = Field(0, ge=0, description="GPUs of a job")

    def memory_of(self, attempt: int) -> int:
        """Return the MB of a job that is tried for the ``attempt``-th time; it grows with every attempt."""
        return self.mem_mb * attempt

    def runtime_of(self, attempt: int, longest: int) -> int:
        """Return the minutes of an attempt, which grow too, up to the ``longest`` that partitions allow."""
        return min(self.runtime * attempt, max(self.runtime, longest))


class ExperimentConfig(Settings):
    """Settings of one experiment in a suite."""

    resources: Resources = Field(Resources(), description="what one job asks of the scheduler")
    threads: int = Field(
        1, ge=1, le=1024, description="CPU threads of a run; results depend on it, so it is a setting"
    )


class Common(Settings):
    """Settings of a suite that every run receives."""

    suite: str
    device: Device
    data_root: str
    checkpoint_minutes: float

    def base(self, experiment: str, run: str, threads: int) -> dict[str, Any]:
        """Return the part of a spec that :class:`RunSpec` defines."""
        return self.model_dump() | {"experiment": experiment, "run": run, "threads": threads}


def results_directory(suite: str) -> Path:
    """Return ``results/<suite>``."""
    return Path("results") / suite


def run_directory(spec: RunSpec) -> Path:
    """Return ``results/<suite>/<experiment>/<run>``."""
    return results_directory(spec.suite) / spec.experiment / spec.run


def spec_file(spec: RunSpec) -> Path:
    """Return where the suite keeps the spec of a run, ``results/<suite>/specs/<experiment>/<run>.yaml``."""
    return results_directory(spec.suite) / "specs" / spec.experiment / f"{spec.run}.yaml"
