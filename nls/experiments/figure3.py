"""Figure 3 (f, g): curves in R³ as intersections of two zero level sets (Section 3.3).

The surfaces of Figure 3 (a) to (e) are runs of Table 2.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, field_validator

from nls.data import Curve, load_curves
from nls.data.curves import CURVES
from nls.engine.files import written_whole
from nls.engine.runs import Run
from nls.engine.seeds import stream_seed
from nls.engine.settings import RunSpec, Settings
from nls.errors import UserError
from nls.experiments.common import Common, ExperimentConfig, Seed
from nls.geometry.curves import curve_metrics, extract_curves
from nls.geometry.files import write_mesh
from nls.geometry.meshing import mesh_zero_level
from nls.geometry.octree import Grid
from nls.levelset import Field as FieldOfSpace
from nls.networks.implicit import ImplicitMLP
from nls.reconstruction.api import MAX_RESOLUTION, MIN_RESOLUTION
from nls.reconstruction.frame import Frame
from nls.reconstruction.levelset import Sampling, level_set_loss
from nls.reconstruction.training import Training, fit


class Fit(Settings):
    """How a curve's network is trained and read out."""

    width: int = Field(512, ge=1, description="units of a hidden layer")
    depth: int = Field(4, ge=1, description="hidden layers")
    training: Training = Training(batch=500, learning_rate=1e-3)
    sampling: Sampling = Sampling(fit_weight=5.0, level_sigmas=[])
    resolution: int = Field(
        100, ge=MIN_RESOLUTION, le=MAX_RESOLUTION, description="nodes of the grid along an axis"
    )
    seed: Seed = Field(0, description="seed of initialisation and batches")


class Config(ExperimentConfig):
    """Settings of Figure 3's curves."""

    curves: list[str] = Field(
        ["closed_noise", "closed_large_noise", "closed_partial"],
        min_length=1,
        description="which curves: closed or open, an underscore, and clean, noise, large_noise or partial",
    )
    fit: Fit = Field(Fit(), description="how a curve's network is trained and read out")

    @field_validator("curves")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        unknown = [name for name in names if name not in CURVES]
        if unknown:
            raise ValueError(f"{unknown[0]} is no curve; take one of {', '.join(CURVES)}")
        return names


class Spec(RunSpec):
    """One curve."""

    experiment: Literal["figure3"]
    curve: str
    fit: Fit

    def datasets(self) -> list[str]:
        """Return the set of curves."""
        return ["curves"]


def expand(config: Config, common: Common) -> list[Spec]:
    """Return one run a curve."""
    return [
        Spec(**common.base("figure3", name, config.threads), curve=name, fit=config.fit)
        for name in config.curves
    ]


def run(spec: Spec, run: Run) -> dict[str, Any]:
    """Fit two level sets to the curve's samples, keep their intersection and both sheets, and measure."""
    settings, curve = spec.fit, _curve(spec)
    frame = Frame.of(curve.points)
    points = torch.as_tensor(frame.inside(curve.points), dtype=torch.float32, device=run.device)
    torch.manual_seed(stream_seed(settings.seed, "initialisation"))
    network = ImplicitMLP(settings.width, settings.depth, outputs=2).to(run.device)
    loss_of = level_set_loss(settings.sampling, network, points)
    figures = fit(network, loss_of, points, settings.training, settings.seed, run)

    grid = Grid(settings.resolution)
    found = [frame.outside(polyline) for polyline in extract_curves(network, grid, run.device)]
    with written_whole(run.directory / "curve.npz") as temporary:
        ends = np.cumsum([len(polyline) for polyline in found])
        np.savez(
            temporary, points=curve.points, truth=curve.truth, polylines=np.concatenate(found), ends=ends
        )
    for output in range(2):
        mesh = mesh_zero_level(_output(network, output), grid, run.device)
        mesh.vertices = frame.outside(np.asarray(mesh.vertices, dtype=np.float64))
        write_mesh(run.directory / f"sheet{output}.ply", mesh)
    run.save_weights(network.state_dict())
    run.data["curves"] = {"curve": curve.name, "sum": float(np.abs(curve.points).sum())}
    return {**curve_metrics(found, curve.truth), **figures, "polylines": len(found)}


def _output(network: ImplicitMLP, output: int) -> FieldOfSpace:
    return lambda points, *context: network(points)[:, output]


def _curve(spec: Spec) -> Curve:
    curves = {curve.name: curve for curve in load_curves(Path(spec.data_root))}
    if spec.curve not in curves:
        raise UserError(f"unknown curve {spec.curve!r}: take one of {', '.join(curves)}")
    return curves[spec.curve]
