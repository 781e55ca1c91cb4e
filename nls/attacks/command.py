"""``nls attack``: a report on anyone's model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nls.attacks.ball import Norm
from nls.attacks.library import Effort
from nls.attacks.report import attack
from nls.data import load_images
from nls.engine.devices import choose_device
from nls.engine.files import write_json
from nls.engine.user_code import is_user_code, load_user_code
from nls.errors import UserError
from nls.networks.weights import load_weights


def attack_files(
    *,
    model: str,
    weights: Path,
    dataset: str,
    data_root: Path,
    eps: float,
    attacks: Sequence[str],
    norm: Norm,
    steps: int,
    step_size: float,
    restarts: int,
    limit: int | None,
    effort: Effort,
    device: str,
    seed: int,
    batch_size: int,
    out: Path | None,
) -> None:
    """Attack a model on the first ``limit`` test images, print the report, and write it to ``out``.

    ``model`` is ``FILE.py:FACTORY``, a function without arguments that returns the network; ``weights`` its
    ``state_dict``.

    Raises:
        UserError: anything of the input that does not fit, in one line.
    """
    if limit is not None and limit < 1:
        raise UserError(f"--limit must be at least 1, not {limit}")
    place = choose_device(device)
    network = _build(model)
    load_weights(network, weights)
    network.to(place)
    data = load_images(dataset, data_root)
    images = torch.from_numpy(data.test.images[:limit].copy()).to(place).float() / 255
    labels = torch.from_numpy(data.test.labels[:limit].copy()).to(place)
    report = attack(
        network,
        images,
        labels,
        eps=eps,
        attacks=attacks,
        norm=norm,
        steps=steps,
        step_size=step_size,
        restarts=restarts,
        effort=effort,
        seed=seed,
        batch_size=batch_size,
    ).to_dict()
    report |= {
        "model": model,
        "weights": str(weights),
        "dataset": dataset,
        "fingerprint": data.fingerprint["test"],
    }
    print(report_text(report))
    if out is not None:
        write_json(out, report)
        print(f"written to {out}")


def report_text(report: dict[str, Any]) -> str:
    """Return the report as lines for a terminal."""
    settings, pgd = report["settings"], report["settings"]["pgd"]
    norm = {"linf": "L∞", "l2": "L2"}[settings["norm"]]
    lines = [
        f"threat model  {norm}, eps {settings['eps']:g}, pixels in [0, 1]",
        f"examples      {report['n']}",
        f"PGD           {pgd['steps']} steps of {pgd['step_size']:g}, {pgd['starts']} random start(s), float32",
        "",
        f"{'clean':<14}{report['clean_accuracy']:8.2%}",
    ]
    for name, accuracy in report["robust_accuracy"].items():
        mean = report["mean_over_starts"].get(name)
        beside = f"   mean over starts {mean:.2%}" if mean is not None and pgd["starts"] > 1 else ""
        lines.append(f"{name:<14}{accuracy:8.2%}{beside}")
    lines += [f"gradient masking suspected: {reason}" for reason in report["gradient_masking"]["reasons"]]
    return "\n".join(lines)


def _build(name: str) -> nn.Module:
    if not is_user_code(name):
        raise UserError(f"--model {name}: write FILE.py:FACTORY")
    factory = load_user_code(name)
    try:
        network = factory()
    except Exception as error:
        raise UserError(
            f"{name}: the factory failed ({type(error).__name__}: {error}); it takes no argument"
        ) from error
    if not isinstance(network, nn.Module):
        raise UserError(f"{name}: returned {type(network).__name__}, not a torch.nn.Module")
    return network
