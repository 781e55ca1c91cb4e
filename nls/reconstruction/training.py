"""Training a network on batches of a cloud: the one loop of Table 2 and Figure 3."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from nls.engine.optimizers import Adam
from nls.engine.seeds import torch_stream
from nls.engine.settings import Settings
from nls.engine.state import Part, restore, snapshot
from nls.engine.steps import LOOK, cosine, require_finite
from nls.reconstruction.muon import Muon
from nls.reconstruction.session import Session


class Training(Settings):
    """How a network is trained."""

    steps: int = Field(2000, ge=1, description="optimisation steps")
    batch: int = Field(1000, ge=2, description="points of the cloud in a step")
    optimizer: Literal["adam", "muon"] = Field(
        "muon", description="muon: Muon for the hidden layers' matrices, Adam for the rest"
    )
    learning_rate: float = Field(4e-3, gt=0, description="at the start")
    schedule: Literal["constant", "cosine", "drops"] = Field(
        "cosine", description="cosine: to 0; drops: ×0.1 at 80, 93 and 97% of the steps"
    )


Loss = Callable[[Tensor, torch.Generator], tuple[Tensor, dict[str, Tensor]]]


class Scheduled(NamedTuple):
    """An optimizer, and the factor of its learning rate by the share of the steps that is done."""

    optimizer: torch.optim.Optimizer
    factor: Callable[[float], float]


def fit(
    network: nn.Module,
    loss_of: Loss,
    points: Float[Tensor, "n d"],
    training: Training,
    seed: int,
    session: Session,
    look: Callable[[int, int], None] | None = None,
    before_step: Callable[[float], None] | None = None,
    optimizers: Sequence[Scheduled] | None = None,
) -> dict[str, float]:
    """Train a network on batches of points and return the number of steps and the last figures of its loss.

    Args:
        network: on the session's device, and trained in place.
        loss_of: maps a batch ``(b, d)``, and the stream to draw from, to the loss and to figures worth showing.
        points: of the cloud, in the unit ball; further columns are what the loss needs to know of a point.
        training: steps, size of a batch, optimizer and learning rate.
        seed: of the batches and of what the loss draws.
        session: keeps the history and the state, from which an interrupted training goes on.
        look: told after every step how many of how many are done.
        before_step: told before every step what share of them is done.
        optimizers: of all parameters; None for those that ``training`` names.

    Raises:
        RunError: the loss is not finite; it is looked at every :data:`LOOK` steps.
    """
    draws = torch_stream(seed, "batches", device=session.device)
    parts: dict[str, Part] = {"network": network, "draws": draws}
    if optimizers is None:
        usual = partial(rate_factor, training.schedule)
        optimizers = [Scheduled(each, usual) for each in make_optimizers(network, training)]
    for number, (optimizer, factor) in enumerate(optimizers):
        parts[f"optimizer{number}"] = optimizer
        parts[f"schedule{number}"] = torch.optim.lr_scheduler.LambdaLR(
            optimizer, partial(_factor_at_step, factor, training.steps)
        )
    start, figures = 0, {"loss": math.nan}
    if (saved := session.resume()) is not None:
        start, figures = saved["step"], saved["figures"]
        restore(parts, saved["parts"])
    for step in session.progress.steps(training.steps, "fit", start):
        session.save_if_due(partial(_state, step, figures, parts))
        if before_step is not None:
            before_step(step / training.steps)
        chosen = torch.randint(len(points), (training.batch,), generator=draws, device=points.device)
        loss, shown = loss_of(points[chosen], draws)
        for optimizer, _ in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for part in parts.values():
            if isinstance(part, torch.optim.Optimizer | torch.optim.lr_scheduler.LRScheduler):
                part.step()
        if step % LOOK == 0 or step + 1 == training.steps:
            figures = {name: float(value.detach()) for name, value in {"loss": loss, **shown}.items()}
            require_finite(figures["loss"], step=step, seed=seed)
            session.history.append({"step": step, **figures})
            session.progress.show(loss=figures["loss"])
        if look is not None:
            look(step + 1, training.steps)
    session.save_if_due(partial(_state, training.steps, figures, parts))
    session.progress.name("meshing and measuring")
    return {"steps": training.steps, **figures}


def make_optimizers(network: nn.Module, training: Training) -> list[torch.optim.Optimizer]:
    """Return Adam for all parameters, or Muon for the matrices between hidden layers and Adam for the rest."""
    parameters, rate = list(network.parameters()), training.learning_rate

    def hidden(parameter: nn.Parameter) -> bool:
        return training.optimizer == "muon" and parameter.dim() == 2 and min(parameter.shape) > 3

    matrices = [parameter for parameter in parameters if hidden(parameter)]
    rest = [parameter for parameter in parameters if not hidden(parameter)]
    return [Adam(rest, rate, fused=True), *([Muon(matrices, rate)] if matrices else [])]


def rate_factor(schedule: str, done: float) -> float:
    """Return the factor of the learning rate after a share of the steps."""
    match schedule:
        case "cosine":
            return cosine(done)
        case "drops":
            return 0.1 ** sum(done >= share for share in (0.8, 14 / 15, 29 / 30))
        case _:
            return 1.0


def _factor_at_step(factor: Callable[[float], float], steps: int, step: int) -> float:
    return factor(step / steps)


def _state(step: int, figures: dict[str, float], parts: Mapping[str, Part]) -> dict[str, Any]:
    return {"step": step, "figures": figures, "parts": snapshot(parts)}
