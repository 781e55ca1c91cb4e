"""Several attacks on one model, and their report: per attack, and the minimum over attacks example by example."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nls.attacks.ball import Ball, Norm
from nls.attacks.checks import Sign, model_warnings
from nls.attacks.library import (
    LIBRARY_ATTACKS,
    Effort,
    LibraryAttack,
    ensemble_of,
    library_attack,
    members,
    require_defined,
)
from nls.attacks.masking import masking_reasons, vanishing_share
from nls.attacks.model import check_examples, has_gradient, is_correct
from nls.attacks.pgd import STEPS_BETWEEN_LOOKS, Loss, pgd
from nls.engine.graphs import how_repeated
from nls.engine.seeds import stream_seed, torch_stream
from nls.errors import UserError

PGD_ATTACKS: dict[str, Loss] = {"pgd-xent": "xent", "pgd-margin": "margin"}
# Passes over a model that draws random numbers, whose gradients are averaged; the number of AutoAttack's own version.
PASSES = 20

ATTACKS = (*PGD_ATTACKS, *LIBRARY_ATTACKS, "autoattack")

# Is handed every piece of some work: its name, and a function that does it. It may return what that function gave
# before an interruption, and may raise to stop.
CarryOut = Callable[[str, Callable[[], Tensor]], Tensor]


def at_once(work: str, do: Callable[[], Tensor]) -> Tensor:
    """Do a piece of work, whatever it is called."""
    return do()


@dataclass(frozen=True)
class AttackReport:
    """What attacks left of a model's accuracy; fractions in [0, 1].

    Attributes:
        clean: where the model is right without an attack, ``(n,)``.
        robust: attack to where the model withstood it, ``(n,)``; for PGD, withstood every start.
        starts: PGD attack to where the model withstood each start, ``(starts, n)``; only if each was tried on all.
        vanishing: PGD attack to the share of examples where the gradient of its loss vanishes.
        points: for each example a point of the ball that the model gets wrong, where an attack found one, and else
            the image, ``(n, c, h, w)``. Pieces that ``carry_out`` remembers from before have left none.
        warnings: signs that the attacks do not fit the model; see :func:`model_warnings`.
        settings: of the attacks, for the reader of the report.
    """

    clean: Bool[Tensor, " n"]
    robust: dict[str, Bool[Tensor, " n"]]
    starts: dict[str, Bool[Tensor, "starts n"]]
    vanishing: dict[str, float]
    points: Float[Tensor, "n c h w"]
    warnings: dict[Sign, str]
    settings: dict[str, Any]

    @property
    def minimum(self) -> Bool[Tensor, " n"]:
        """Where the model withstood every attack, ``(n,)``."""
        return torch.stack([self.clean, *self.robust.values()]).all(dim=0)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as ``nls attack`` writes it."""
        accuracy = {name: _share(withstood) for name, withstood in self.robust.items()}
        reasons = masking_reasons(accuracy, self.vanishing)
        return {
            "n": len(self.clean),
            "clean_accuracy": _share(self.clean),
            "robust_accuracy": accuracy | {"min": _share(self.minimum)},
            "mean_over_starts": {name: _share(each.flatten()) for name, each in self.starts.items()},
            "vanishing_gradient_share": self.vanishing,
            "warnings": self.warnings,
            "gradient_masking": {"flagged": bool(reasons), "reasons": reasons},
            "settings": self.settings,
        }


def attack(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    *,
    eps: float,
    attacks: Sequence[str] = ("pgd-xent", "pgd-margin", "autoattack"),
    norm: Norm = "linf",
    steps: int = 40,
    step_size: float = 0.01,
    restarts: int = 1,
    mean_over_starts: bool = False,
    effort: Effort | None = None,
    seed: int = 0,
    batch_size: int = 250,
    carry_out: CarryOut = at_once,
) -> AttackReport:
    """Attack a classifier and report what it withstood.

    PGD runs from ``restarts`` random starts, each on the examples that those before have left, and its figure is
    the worst case. The mean over starts, which papers often give, needs every start on all examples.
    ``autoattack`` is AutoAttack's standard ensemble, each member on the examples that the members before have left;
    members that are asked for by name as well run on all examples and are not run twice. Every verdict is a float32
    forward pass of the model in evaluation mode.

    Of a model that draws random numbers, gradients are means over :data:`PASSES` passes (of PGD and APGD), verdicts
    are those of the mean logits, and ``autoattack`` is AutoAttack's version for such models. PGD takes all its steps,
    and a point counts as adversarial if two such verdicts, with draws of their own, both find it wrong: with one look
    a step, chance alone would break images.

    Args:
        model: images ``(n, c, h, w)`` in [0, 1] to logits ``(n, classes)``; on the images' device.
        images: what to attack.
        labels: true classes.
        eps: radius of the ball, in pixel values.
        attacks: names of :data:`ATTACKS`.
        norm: ``linf`` or ``l2``.
        steps: of PGD.
        step_size: of PGD, in pixel values.
        restarts: random starts of PGD.
        mean_over_starts: report the mean over starts too.
        effort: steps and queries of the other attacks; AutoAttack's standard by default.
        seed: of every random draw; equal seeds give equal reports on one machine.
        batch_size: examples in one forward pass.
        carry_out: see :data:`CarryOut`; the pieces are a start of PGD and a batch of another attack.

    Raises:
        UserError: an unknown attack, ``eps`` < 0, no examples, images outside [0, 1] or on another device than a CPU
            or a GPU of CUDA, labels out of range, or a model whose logits are not finite.
    """
    if not isinstance(images, Tensor) or not isinstance(labels, Tensor):
        raise UserError("images and labels must be tensors: call torch.as_tensor on them")
    if (kind := images.device.type) not in STEPS_BETWEEN_LOOKS:
        known = " or ".join(STEPS_BETWEEN_LOOKS)
        raise UserError(f"the images are on {kind}: move them and the model to {known}")
    ball, effort = Ball(eps, norm), effort or Effort()
    _check_settings(attacks, steps, step_size, restarts, batch_size)
    with _drawing(seed, "checks", images.device):
        classes = check_examples(model, images, labels)
        labels = labels.long()
        if set(attacks) - {"square"} and not has_gradient(model, images[:1]):
            raise UserError("the model's logits have no gradient in the image: attack it with square alone")
        warnings = model_warnings(model, images[:batch_size], labels[:batch_size])
        passes = PASSES if "randomised" in warnings else 1
        if set(attacks) - set(PGD_ATTACKS) and images.dtype != torch.float32:
            raise UserError(f"{images.dtype} is for PGD alone: call .float() on the model and the images")
        require_defined(members(attacks, randomised=passes > 1), classes, norm, images.shape)
        clean = is_correct(model, images, labels, batch_size, passes)
    examples = _Examples(model, images, labels, ball, passes, seed, batch_size, carry_out, images.clone())
    robust, starts, vanishing = dict[str, Tensor](), dict[str, Tensor](), dict[str, float]()
    for name in attacks:
        if name in PGD_ATTACKS:
            each = examples.left_by_pgd(name, clean, restarts, steps, step_size, all_starts=mean_over_starts)
            robust[name] = clean & torch.stack(each).all(dim=0)
            if mean_over_starts or restarts == 1:
                starts[name] = torch.stack(each)
            vanishing[name] = examples.vanishing_share(name, clean)
    for name in attacks:
        if name in LIBRARY_ATTACKS:
            robust[name] = examples.left_by(name, clean, classes, effort)
    if "autoattack" in attacks:
        ensemble = ensemble_of(randomised=passes > 1)
        left = torch.stack([clean, *(robust[member] for member in ensemble if member in robust)]).all(dim=0)
        for member in ensemble:
            if member not in robust:
                left = examples.left_by(member, left, classes, effort)
        robust["autoattack"] = left
    settings = {
        "eps": eps,
        "norm": norm,
        "pgd": {"steps": steps, "step_size": step_size, "starts": restarts},
        "passes": passes,
        "apgd_steps": effort.apgd_steps,
        "fab_steps": effort.fab_steps,
        "square_queries": effort.queries,
        "seed": seed,
        "device": images.device.type,
        "repeated_steps": how_repeated(images.device),
    }
    return AttackReport(clean, robust, starts, vanishing, examples.points, warnings, settings)


@dataclass(frozen=True)
class _Examples:
    """What is attacked, and how; ``points`` takes in every point that the model gets wrong."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    ball: Ball
    passes: int
    seed: int
    batch_size: int
    carry_out: CarryOut
    points: Tensor

    def left_by_pgd(
        self, name: str, clean: Tensor, starts: int, steps: int, step_size: float, *, all_starts: bool
    ) -> list[Tensor]:
        """Return where the model withstands each start, on all clean examples or on those that are left till then."""
        left, found = clean, list[Tensor]()
        for number in range(starts):
            work = partial(self._one_start, name, number, clean if all_starts else left, steps, step_size)
            found.append(self.carry_out(f"{name}, start {number + 1}", work).to(self.images.device))
            left = left & found[-1]
        return found

    def _one_start(self, name: str, number: int, among: Tensor, steps: int, step_size: float) -> Tensor:
        """Return which of the examples ``among`` the model withstands under PGD from one random start."""
        # One stream a start, so that more starts contain fewer.
        draws = torch_stream(self.seed, "start", number, device=self.images.device)
        start = self.ball.random(self.images, draws)
        rows = torch.nonzero(among)[:, 0]
        with self._drawing_for(f"{name} {number}"):
            result = pgd(
                self.model,
                self.images[rows],
                self.labels[rows],
                self.ball,
                start[rows],
                loss=PGD_ATTACKS[name],
                steps=steps,
                step_size=step_size,
                stop_when_broken=self.passes == 1,
                passes=self.passes,
                batch_size=self.batch_size,
            )
            broken = result.broken
            if self.passes > 1:
                broken = broken & ~self._withstood(rows, result.points)
        self._keep(rows, result.points, broken)
        left = among.clone()
        left[rows] = ~broken
        return left

    def vanishing_share(self, name: str, clean: Tensor) -> float:
        """Return at which share of the clean examples the gradient of PGD's loss vanishes."""
        rows = torch.nonzero(clean)[:, 0]
        with self._drawing_for(f"{name} vanishing"):
            return vanishing_share(
                self.model, self.images[rows], self.labels[rows], PGD_ATTACKS[name], self.batch_size
            )

    def left_by(self, name: LibraryAttack, among: Tensor, classes: int, effort: Effort) -> Tensor:
        """Return where the model withstands ``name``, which works on the examples ``among``."""
        left = among.clone()
        rows = torch.nonzero(among)[:, 0]
        for first in range(0, len(rows), self.batch_size):
            batch = rows[first : first + self.batch_size]
            work = f"{name}, examples {first + 1} to {first + len(batch)} of {len(rows)}"
            do = partial(self._one_batch, name, batch, classes, effort)
            left[batch] = self.carry_out(work, do).to(self.images.device)
        return left

    def _one_batch(self, name: LibraryAttack, rows: Tensor, classes: int, effort: Effort) -> Tensor:
        """Return which of these examples, all attacked at once, the model withstands."""
        points = library_attack(
            name,
            self.model,
            self.images[rows],
            self.labels[rows],
            self.ball,
            classes=classes,
            effort=effort,
            seed=self.seed,
            passes=self.passes,
        )
        with self._drawing_for(name):
            left = self._withstood(rows, points)
            if self.passes > 1:
                left = left | self._withstood(rows, points)
        self._keep(rows, points, ~left)
        return left

    def _withstood(self, rows: Tensor, points: Tensor) -> Tensor:
        """Return which of these examples the model gets right at ``points``."""
        return is_correct(self.model, points, self.labels[rows], self.batch_size, self.passes)

    def _keep(self, rows: Tensor, points: Tensor, wrong: Tensor) -> None:
        self.points[rows[wrong]] = points[wrong]

    def _drawing_for(self, work: str) -> AbstractContextManager[None]:
        return _drawing(self.seed, work, self.images.device)


@contextmanager
def _drawing(seed: int, work: str, device: torch.device) -> Iterator[None]:
    """Let a model that draws random numbers draw the same ones each time, and leave torch's own state alone."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(stream_seed(seed, "draws", work))
        yield


def _check_settings(
    attacks: Sequence[str], steps: int, step_size: float, restarts: int, batch_size: int
) -> None:
    unknown = [name for name in attacks if name not in ATTACKS]
    if unknown:
        raise UserError(f"unknown attack {unknown[0]!r}: take some of {', '.join(ATTACKS)}")
    if not attacks:
        raise UserError(f"no attack is named: take some of {', '.join(ATTACKS)}")
    if batch_size < 1:
        raise UserError(f"the batch size must be at least 1, not {batch_size}")
    if steps < 0 or restarts < 1 or not step_size > 0:
        raise UserError(
            f"PGD needs steps >= 0, step size > 0 and restarts >= 1, not {steps}, {step_size} and {restarts}"
        )


def _share(flags: Tensor) -> float:
    return float(flags.double().mean())
