"""Theorem 1: polyhedral shapes as the exact zero level sets of ReLU networks, built without training."""

import time
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, field_validator

from nls.engine.files import write_json, written_whole
from nls.engine.runs import Run
from nls.engine.settings import RunSpec, told_with_key
from nls.experiments.common import Common, ExperimentConfig
from nls.universality import check, evaluations_per_second, save_network, shape
from nls.universality.layers import compile_partition
from nls.universality.shapes import require_shape
from nls.universality.tree import partition
from nls.universality.zeros import find_walls


class Config(ExperimentConfig):
    """Settings of the check of Theorem 1."""

    shapes: dict[str, list[Annotated[int, Field(ge=2, le=1024)]]] = Field(
        min_length=1,
        description="shapes (body-N is a body of N faces); for each, nodes along an axis of the grids that extract "
        "it",
    )
    dtype: Literal["float32", "float64"] = Field("float64", description="number type of the weights")
    points: int = Field(
        100_000, ge=100, description="points at which the network's sign is compared with the mesh"
    )
    timed_points: int = Field(100_000, ge=1000, description="points of the timing")

    @field_validator("shapes")
    @classmethod
    def _known(cls, shapes: dict[str, list[int]]) -> dict[str, list[int]]:
        for name in shapes:
            with told_with_key():
                require_shape(name)
        return shapes


class Spec(RunSpec):
    """One shape."""

    experiment: Literal["universality"]
    shape: str
    resolutions: list[int]
    dtype: Literal["float32", "float64"]
    points: int
    timed_points: int


def expand(config: Config, common: Common) -> list[Spec]:
    """Return one run a shape."""
    return [
        Spec(
            **common.base("universality", name, config.threads),
            shape=name,
            resolutions=resolutions,
            dtype=config.dtype,
            points=config.points,
            timed_points=config.timed_points,
        )
        for name, resolutions in config.shapes.items()
    ]


def run(spec: Spec, run: Run) -> dict[str, Any]:
    """Build the shape's network, compare it with the shape, and keep both it and its exact zero level set.

    ``timing.json`` holds the seconds it took to build and the points it evaluates a second; clocks are not metrics.
    """
    surface = shape(spec.shape)
    start = time.perf_counter()
    partitioned = partition(surface)
    network = compile_partition(partitioned, getattr(torch, spec.dtype))
    seconds = time.perf_counter() - start
    walls = find_walls(partitioned)
    metrics = check(network, surface, spec.points, spec.resolutions, walls=walls)
    speed = evaluations_per_second(network, surface, spec.timed_points)
    write_json(run.directory / "timing.json", {"build_seconds": seconds, "evaluations_per_second": speed})
    simplices = walls.corners
    count = simplices.shape[0] * simplices.shape[1]
    with written_whole(run.directory / "level_set.npz") as temporary:
        np.savez(
            temporary,
            vertices=simplices.reshape(count, -1),
            simplices=np.arange(count).reshape(simplices.shape[:2]),
        )
    save_network(network, run.directory / "weights.safetensors", {"shape": spec.shape})
    return metrics
