"""Adversarial points in a file, and the check that they are what their report says."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nls.attacks.ball import Ball
from nls.attacks.model import check_examples, mean_logits, require_finite, under_attack
from nls.attacks.report import AttackReport
from nls.engine.files import written_whole
from nls.errors import UserError
from nls.levelset import class_margin

# float32 rounds image ± ε to this; in L2 the offsets of many pixels add up to this, and to this share of ε.
_ROUNDING = 1e-6
_ROUNDING_OF_EPS = 4e-6

# A margin below this share of the largest logit may change its sign with the batch or the machine.
_TIE = 1e-5


@dataclass(frozen=True)
class Saved:
    """A file of adversarial points.

    Attributes:
        points: ``(n, c, h, w)``: wrong points where an attack found one, and else the images themselves.
        labels: true classes, ``(n,)``.
        withstood: where the model was right on its point, ``(n,)``.
        ball: the threat model.
        passes: see :func:`nls.attacks.attack`.
        dataset: name or path of the images; these are the first n of its test set.
        fingerprint: of the test set.
    """

    points: Float[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]
    withstood: Bool[Tensor, " n"]
    ball: Ball
    passes: int
    dataset: str
    fingerprint: str


def save_adversarial(
    path: Path, report: AttackReport, labels: Int[Tensor, " n"], dataset: str, fingerprint: str
) -> None:
    """Write a report's points as ``.npz``; the arrays are the attributes of :class:`Saved`."""
    arrays: dict[str, Any] = {
        "points": report.points.cpu().numpy(),
        "labels": labels.cpu().numpy(),
        "withstood": report.minimum.cpu().numpy(),
        "eps": report.settings["eps"],
        "norm": report.settings["norm"],
        "passes": report.settings["passes"],
        "dataset": dataset,
        "fingerprint": fingerprint,
    }
    # Through memory, because zipfile does not say that a disk is full.
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    with written_whole(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def read_adversarial(path: Path) -> Saved:
    """Read what :func:`save_adversarial` wrote.

    Raises:
        UserError: the file is missing, damaged, or something else.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file of adversarial points")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Saved(
                torch.from_numpy(arrays["points"]),
                torch.from_numpy(arrays["labels"]),
                torch.from_numpy(arrays["withstood"]),
                Ball(float(arrays["eps"]), str(arrays["norm"])),  # type: ignore[arg-type]
                int(arrays["passes"]),
                str(arrays["dataset"]),
                str(arrays["fingerprint"]),
            )
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(
            f"{path}: is no file that nls attack --save-adversarial wrote, or is damaged ({error})"
        ) from error


def check_adversarial(
    saved: Saved,
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    batch_size: int = 250,
) -> dict[str, float | int]:
    """Attack nothing, trust nothing: look at the points of a file and at what the model makes of them.

    Args:
        saved: the file.
        model: as for :func:`nls.attacks.attack`.
        images: the images that were attacked.
        labels: their true classes.
        batch_size: examples in one forward pass.

    Returns:
        ``n``; ``outside_ball``, ``outside_unit_box``, ``other_verdict``: how many points are not as they should be;
        ``ties``: how many have another verdict within rounding of the boundary; ``farthest``: the largest distance
        from an image, in the ball's norm; ``robust_accuracy``: the share that the model gets right.

    Raises:
        UserError: the points are not of these images, or the model does not take them or returns no finite logits.
    """
    if saved.points.shape != images.shape or not torch.equal(saved.labels.to(labels.device), labels):
        raise UserError("the adversarial points belong to other images: their number, shape or labels differ")
    check_examples(model, images, labels)
    points = saved.points.to(images)
    offset = (points - images).flatten(1).double()
    if saved.ball.norm == "linf":
        away, rounding = offset.abs().amax(dim=1), _ROUNDING
    else:
        away, rounding = offset.norm(dim=1), _ROUNDING + _ROUNDING_OF_EPS * saved.ball.eps
    with under_attack(model):
        logits = torch.cat([mean_logits(model, batch, saved.passes) for batch in points.split(batch_size)])
    beyond = ~(away <= saved.ball.eps + rounding)
    outside = ~((points.flatten(1) >= 0) & (points.flatten(1) <= 1)).all(dim=1)
    require_finite(logits[~(beyond | outside)])
    right = logits.argmax(dim=1) == labels
    other = right != saved.withstood.to(labels.device)
    tie = class_margin(logits, labels).abs() <= _TIE * logits.abs().amax(dim=1)
    if saved.passes > 1:
        tie = torch.ones_like(tie)
    return {
        "n": len(points),
        "outside_ball": int(beyond.sum()),
        "outside_unit_box": int(outside.sum()),
        "other_verdict": int((other & ~tie).sum()),
        "ties": int((other & tie).sum()),
        "farthest": float(away.max()),
        "robust_accuracy": float(right.double().mean()),
    }
