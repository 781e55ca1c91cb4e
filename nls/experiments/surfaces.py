"""Surfaces from point clouds: the methods of Table 2, the loop that trains them, and ``nls reconstruct``.

Every method sees the cloud centred and scaled into the unit ball, and its mesh is returned in the cloud's own
coordinates. docs/surfaces.md says what the default settings reach, and in what time.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from pydantic import Discriminator, Field, Tag
from torch import Tensor, nn

from nls.engine.devices import choose_device
from nls.engine.progress import Progress
from nls.engine.seeds import numpy_stream, stream_seed, torch_stream
from nls.engine.settings import Settings
from nls.engine.state import Part, restore, snapshot
from nls.engine.user_code import is_user_code, load_user_code
from nls.errors import RunError, UserError
from nls.geometry.files import check_points
from nls.geometry.meshing import Topology, largest_component, mesh_zero_level, topology
from nls.geometry.neighbours import Neighbours
from nls.geometry.octree import Grid
from nls.levelset import values_and_jacobian
from nls.networks.atlasnet import AtlasNet
from nls.networks.implicit import ImplicitMLP
from nls.objectives.chamfer import squared_chamfer
from nls.objectives.igr import IgrLoss
from nls.objectives.reconstruction import ReconstructionLoss

MIN_RESOLUTION = 16
# Steps between two looks at the loss: a look waits for the GPU.
_LOOK = 20


class Training(Settings):
    """How a network is trained."""

    steps: int = Field(1500, ge=1, description="optimisation steps")
    batch: int = Field(1000, ge=2, description="points of the cloud in a step")
    optimizer: Literal["adam", "muon"] = Field(
        "muon", description="muon: Muon for the hidden layers' matrices, Adam for the rest"
    )
    learning_rate: float = Field(4e-3, gt=0, description="at the start")
    schedule: Literal["constant", "cosine", "drops"] = Field(
        "cosine", description="cosine: to 0; drops: ×0.1 at 80, 93 and 97% of the steps"
    )


class Sampling(Settings):
    """Samples and weights of Eq. 13."""

    fit_weight: float = Field(3.0, ge=0, description="λ")
    power: float = Field(1.0, gt=0, description="p")
    seed_sigma: float = Field(0.1, ge=0, description="noise of the seeds of the zero level, unit ball")
    uniform_share: float = Field(
        0.2, ge=0, le=1, description="part of the seeds that is uniform in [−1.1, 1.1]³"
    )
    level_sigmas: list[float] = Field(
        [0.01, 0.2], description="noise of the samples of other levels; an empty list stands for T = {0}"
    )
    newton_iterations: int = Field(10, ge=0, description="the most Newton steps of a seed")
    newton_tolerance: float = Field(1e-3, gt=0, description="largest |F| of a converged sample")


class LevelSet(Settings):
    """The method of Section 3.3."""

    method: Literal["levelset"] = "levelset"
    width: int = Field(256, ge=1, description="units of a hidden layer")
    depth: int = Field(4, ge=1, description="hidden layers")
    training: Training = Training()
    sampling: Sampling = Sampling()


class Igr(Settings):
    """Implicit geometric regularisation."""

    method: Literal["igr"] = "igr"
    width: int = Field(256, ge=1, description="units of a hidden layer")
    depth: int = Field(4, ge=1, description="hidden layers")
    training: Training = Training()
    eikonal_weight: float = Field(0.1, ge=0, description="λ of the eikonal term")
    local_sigma: float = Field(0.02, ge=0, description="noise of the samples near the cloud, unit ball")


class Atlas(Settings):
    """AtlasNet on one cloud."""

    method: Literal["atlasnet"] = "atlasnet"
    patches: int = Field(25, ge=1, description="templates")
    template: Literal["square", "sphere"] = Field("square", description="kind of template")
    latent: int = Field(1024, ge=1, description="units of the cloud's description")
    hidden: int = Field(512, ge=1, description="units of a decoder's hidden layer")
    vertices: int = Field(10_000, ge=100, description="vertices of the mesh, over all templates")
    training: Training = Training(optimizer="adam", learning_rate=1e-3, schedule="drops")


class Poisson(Settings):
    """Screened Poisson."""

    method: Literal["poisson"] = "poisson"
    depth: int = Field(8, ge=1, le=12, description="depth of the octree")
    neighbours: int = Field(16, ge=3, description="points in the fit of a normal")


class Own(Settings):
    """A user's own method: ``Class(**settings)(points, seed, device)`` returns a ``trimesh.Trimesh``.

    The points are a tensor ``(n, 3)`` in the unit ball, and so is the mesh.
    """

    method: str = Field(pattern=r"\.py:\w+$", description="FILE.py:CLASS")
    settings: dict[str, Any] = Field({}, description="passed to the class")


def _kind(value: Any) -> str | None:
    name = value.get("method") if isinstance(value, Mapping) else getattr(value, "method", None)
    return "own" if isinstance(name, str) and is_user_code(name) else name


Method = Annotated[
    Annotated[LevelSet, Tag("levelset")]
    | Annotated[Igr, Tag("igr")]
    | Annotated[Atlas, Tag("atlasnet")]
    | Annotated[Poisson, Tag("poisson")]
    | Annotated[Own, Tag("own")],
    Discriminator(
        _kind,
        custom_error_type="unknown_method",
        custom_error_message="method: take one of levelset, igr, atlasnet, poisson, or FILE.py:CLASS",
    ),
]

METHODS: dict[str, LevelSet | Igr | Atlas | Poisson] = {
    "levelset": LevelSet(),
    "poisson": Poisson(),
    "igr": Igr(),
    "atlasnet-sphere": Atlas(patches=1, template="sphere"),
    "atlasnet-1": Atlas(patches=1),
    "atlasnet-25": Atlas(),
}


class Work(Protocol):
    """What a method is handed; :class:`nls.engine.runs.Run` is one."""

    device: torch.device
    progress: Progress
    history: list[dict[str, float | int | str]]

    def note(self, message: str) -> None:
        """Tell what a reader of the result must know."""

    def resume(self) -> dict[str, Any] | None:
        """Return the state of an interrupted run."""

    def offer(self, state: Callable[[], dict[str, Any]]) -> None:
        """Keep the state if it is time to."""


class Unattended:
    """Work without a run directory: nothing to resume, nothing kept."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.progress = Progress()
        self.history: list[dict[str, float | int | str]] = []

    def note(self, message: str) -> None:
        """Print the message."""
        print(f"note: {message}", flush=True)

    def resume(self) -> None:
        """Start anew."""

    def offer(self, state: Callable[[], dict[str, Any]]) -> None:
        """Keep nothing."""


@dataclass(frozen=True)
class Frame:
    """The map of a cloud's coordinates into the unit ball: ``(x − centre) / radius``."""

    centre: Float[np.ndarray, " d"]
    radius: float

    @classmethod
    def of(cls, points: Float[np.ndarray, "n d"]) -> "Frame":
        """Return the frame in which the cloud's box is centred and its farthest point has length 1."""
        centre = (points.min(axis=0) + points.max(axis=0)) / 2
        return cls(centre, float(np.linalg.norm(points - centre, axis=1).max()))

    def inside(self, points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Return points of the cloud's coordinates in the unit ball's."""
        return (points - self.centre) / self.radius

    def outside(self, points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Return points of the unit ball in the cloud's coordinates."""
        return points * self.radius + self.centre


@dataclass(frozen=True)
class Reconstruction:
    """A reconstructed surface.

    Attributes:
        mesh: in the cloud's coordinates.
        topology: its pieces, and whether it is closed.
        points: how many points of the cloud were used.
        network: the trained network, in the unit ball's coordinates; None without one.
        figures: further numbers, such as the steps.
    """

    mesh: trimesh.Trimesh
    topology: Topology
    points: int
    network: nn.Module | None
    figures: dict[str, float]


def reconstruct(
    points: Float[np.ndarray, "n 3"],
    method: str = "levelset",
    *,
    steps: int | None = None,
    resolution: int = 256,
    max_points: int = 100_000,
    keep_largest: bool = False,
    device: str = "auto",
    seed: int = 0,
) -> Reconstruction:
    """Reconstruct the surface that a point cloud samples, with the settings of :data:`METHODS`.

    Args:
        points: the cloud, in any units.
        method: one of :data:`METHODS`.
        steps: training steps; None for the method's own number.
        resolution: nodes of the meshing grid along an axis (methods with a level set).
        max_points: a larger cloud is thinned to so many points, at random.
        keep_largest: whether to drop all pieces but the largest; each dropped piece is told.
        device: ``auto``, ``cpu`` or ``cuda``.
        seed: of sampling and initialisation.

    Raises:
        UserError: an unknown method, unusable points, or no surface.
        RunError: the training diverged.
    """
    if method not in METHODS:
        raise UserError(f"unknown method {method!r}: take one of {', '.join(METHODS)}")
    settings = METHODS[method]
    if steps is not None:
        if isinstance(settings, Poisson):
            raise UserError("method poisson has no training steps: leave out --steps")
        if steps < 1:
            raise UserError(f"steps must be at least 1, not {steps}")
        training = settings.training.model_copy(update={"steps": steps})
        settings = settings.model_copy(update={"training": training})
    if resolution < MIN_RESOLUTION:
        raise UserError(f"resolution must be at least {MIN_RESOLUTION}, not {resolution}")
    work = Unattended(choose_device(device))
    return reconstruct_with(
        settings, np.asarray(points, dtype=np.float64), resolution, max_points, keep_largest, seed, work
    )


def reconstruct_with(
    method: Method,
    points: Float[np.ndarray, "n 3"],
    resolution: int,
    max_points: int,
    keep_largest: bool,
    seed: int,
    work: Work,
) -> Reconstruction:
    """Reconstruct with the given settings; see :func:`reconstruct`."""
    check_points(points, "the cloud")
    frame = Frame.of(points)
    if len(points) > max_points:
        points = numpy_stream(seed, "thinning").permutation(points)[:max_points]
    unit = torch.as_tensor(frame.inside(points), dtype=torch.float32, device=work.device)
    torch.manual_seed(stream_seed(seed, "initialisation"))
    network: nn.Module | None = None
    figures: dict[str, float] = {}
    match method:
        case LevelSet() | Igr():
            network = ImplicitMLP(
                method.width, method.depth, activation="softplus" if isinstance(method, Igr) else "relu"
            ).to(work.device)
            loss_of = (
                level_set_loss(method.sampling, network, unit)
                if isinstance(method, LevelSet)
                else _igr_loss(method, network)
            )
            figures = fit(network, loss_of, unit, method.training, seed, work)
            figures["eikonal_error"] = _eikonal_error(network, unit, seed)
            mesh = mesh_zero_level(network, Grid(resolution), work.device)
        case Atlas():
            network = AtlasNet(method.patches, method.template, method.latent, method.hidden).to(work.device)
            figures = fit(network, _atlas_loss(network), unit, method.training, seed, work)
            draws = torch_stream(seed, "description", device=work.device)
            chosen = torch.randint(len(unit), (method.training.batch,), generator=draws, device=work.device)
            mesh = network.mesh(unit[chosen], method.vertices)
        case Poisson():
            # On a CUDA device too, this method works on the CPU.
            from nls.geometry.poisson import screened_poisson

            mesh = screened_poisson(
                unit.cpu().numpy(), method.depth, method.neighbours, torch.get_num_threads()
            )
        case Own():
            mesh = load_user_code(method.method)(**method.settings)(unit, seed, work.device)
    mesh.vertices = frame.outside(np.asarray(mesh.vertices, dtype=np.float64))
    if keep_largest:
        mesh = _largest(mesh, work)
    return Reconstruction(mesh, topology(mesh), len(points), network, figures)


Loss = Callable[[Tensor, torch.Generator], tuple[Tensor, dict[str, Tensor]]]


def fit(
    network: nn.Module, loss_of: Loss, points: Float[Tensor, "n d"], training: Training, seed: int, work: Work
) -> dict[str, float]:
    """Train a network on batches of points and return the last figures of its loss.

    The one loop of Table 2 and Figure 3: ``loss_of`` maps a batch to the loss and to figures worth showing.
    """
    draws = torch_stream(seed, "batches", device=work.device)
    parts: dict[str, Part] = {"network": network, "draws": draws}
    optimizers = _optimizers(network, training)
    for number, optimizer in enumerate(optimizers):
        parts[f"optimizer{number}"] = optimizer
        parts[f"schedule{number}"] = torch.optim.lr_scheduler.LambdaLR(
            optimizer, partial(_rate, training.schedule, training.steps)
        )
    start, figures = 0, {"loss": math.nan}
    if (saved := work.resume()) is not None:
        start, figures = saved["step"], saved["figures"]
        restore(parts, saved["parts"])
    for step in work.progress.steps(training.steps, "fit", start):
        work.offer(partial(_state, step, figures, parts))
        chosen = torch.randint(len(points), (training.batch,), generator=draws, device=points.device)
        loss, shown = loss_of(points[chosen], draws)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for part in parts.values():
            if isinstance(part, torch.optim.Optimizer | torch.optim.lr_scheduler.LRScheduler):
                part.step()
        if step % _LOOK == 0 or step + 1 == training.steps:
            figures = {name: float(value.detach()) for name, value in {"loss": loss, **shown}.items()}
            if not math.isfinite(figures["loss"]):
                raise RunError(
                    f"the loss is {figures['loss']} at step {step}, seed {seed}; a smaller learning rate may help"
                )
            work.history.append({"step": step, **figures})
            work.progress.show(loss=figures["loss"])
    work.offer(partial(_state, training.steps, figures, parts))
    work.progress.name("meshing and measuring")
    return {"steps": training.steps, **figures}


def level_set_loss(sampling: Sampling, network: nn.Module, points: Float[Tensor, "n d"]) -> Loss:
    """Return Eq. 13 for a network and a cloud."""
    objective = ReconstructionLoss(**sampling.model_dump())
    cloud = Neighbours(points)

    def loss(batch: Tensor, draws: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        terms = objective(network, batch, cloud, draws)
        shown = {"zero": terms.zero, "others": terms.others, "fit": terms.fit, "converged": terms.converged}
        return objective.total(terms), shown

    return loss


def _igr_loss(method: Igr, network: nn.Module) -> Loss:
    objective = IgrLoss(method.eikonal_weight, method.local_sigma)

    def loss(batch: Tensor, draws: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        fit, eikonal = objective(network, batch, draws)
        return objective.total(fit, eikonal), {"fit": fit, "eikonal": eikonal}

    return loss


def _atlas_loss(network: AtlasNet) -> Loss:
    def loss(batch: Tensor, draws: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        images = network(batch, network.random_places(len(batch), draws)).flatten(0, 1)
        return squared_chamfer(images, batch), {}

    return loss


def _optimizers(network: nn.Module, training: Training) -> list[torch.optim.Optimizer]:
    """Return Adam for all parameters, or Muon for the matrices between hidden layers and Adam for the rest."""
    parameters = list(network.parameters())
    if training.optimizer == "adam":
        return [torch.optim.Adam(parameters, training.learning_rate, fused=True)]
    matrices = [parameter for parameter in parameters if parameter.dim() == 2 and min(parameter.shape) > 3]
    chosen = {id(parameter) for parameter in matrices}
    rest = [parameter for parameter in parameters if id(parameter) not in chosen]
    adam = torch.optim.Adam(rest, training.learning_rate, fused=True)
    if not matrices:
        return [adam]
    # match_rms_adamw: a step of Muon is as long as one of Adam at the same learning rate.
    muon = torch.optim.Muon(
        matrices, training.learning_rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
    )
    return [adam, muon]


def _rate(schedule: str, steps: int, step: int) -> float:
    """Return the factor of the learning rate at a step."""
    match schedule:
        case "cosine":
            return (1 + math.cos(math.pi * min(step / steps, 1.0))) / 2
        case "drops":
            return 0.1 ** sum(step >= share * steps for share in (0.8, 14 / 15, 29 / 30))
        case _:
            return 1.0


def _eikonal_error(network: nn.Module, points: Float[Tensor, "n 3"], seed: int) -> float:
    """Return the mean of ``|‖∇F‖ − 1|`` at points near the cloud: 0 for a signed distance."""
    draws = torch_stream(seed, "eikonal", device=points.device)
    chosen = torch.randint(len(points), (5000,), generator=draws, device=points.device)
    noise = torch.randn(5000, points.shape[1], generator=draws, device=points.device)
    _, jacobian = values_and_jacobian(network, points[chosen] + 0.01 * noise)
    return float((torch.linalg.vector_norm(jacobian[:, 0], dim=1) - 1).abs().mean())


def _largest(mesh: trimesh.Trimesh, work: Work) -> trimesh.Trimesh:
    """Drop all pieces but the largest, and say so."""
    kept = largest_component(mesh)
    dropped = topology(mesh).components - topology(kept).components
    if dropped:
        share = 1 - kept.area / mesh.area
        work.note(f"dropped {dropped} pieces with {share:.2%} of the area")
    return kept


def _state(step: int, figures: dict[str, float], parts: Mapping[str, Part]) -> dict[str, Any]:
    return {"step": step, "figures": figures, "parts": snapshot(parts)}
