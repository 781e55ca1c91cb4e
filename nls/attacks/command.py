"""``nls attack``: a report on anyone's model."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nls.attacks.adversarial import check_adversarial, read_adversarial
from nls.attacks.adversarial import save_adversarial as save_points
from nls.attacks.ball import Norm
from nls.attacks.library import Effort
from nls.attacks.progress import shown
from nls.attacks.report import attack
from nls.data import load_images
from nls.engine.devices import choose_device
from nls.engine.files import require_distinct, require_place, write_json
from nls.engine.user_code import is_user_code, load_user_code, told_as_theirs, user_file
from nls.errors import UserError
from nls.networks.weights import Unwrapped, load_weights

_NORMS = {"linf": "L∞", "l2": "L2"}


def attack_files(
    *,
    model: str,
    weights: Path,
    weights_key: str | None,
    dataset: str,
    data_root: Path,
    eps: float,
    attacks: Sequence[str],
    norm: Norm,
    steps: int,
    step_size: float,
    restarts: int,
    mean_over_starts: bool,
    limit: int | None,
    effort: Effort,
    device: str,
    seed: int,
    batch_size: int,
    save_adversarial: Path | None,
    out: Path | None,
) -> dict[str, Any]:
    """Attack a model on the first ``limit`` test images, print the report, write it to ``out``, and return it.

    ``model`` is ``FILE.py:FACTORY``, a function without arguments that returns the network; ``weights`` is a
    checkpoint, see :func:`load_weights`. The points that were found go to ``save_adversarial``.

    Raises:
        UserError: anything of the input that does not fit, in one line.
    """
    code = Path(user_file(model))
    for path in filter(None, (save_adversarial, out)):
        require_place(path, weights, Path(dataset), code)
    require_distinct(save_adversarial, out)
    place = choose_device(device)
    network, unwrapped = _network(model, weights, weights_key, place)
    images, labels, classes, fingerprint = _test_images(dataset, data_root, limit, place)
    with shown(network, len(images), classes, attacks, effort, steps=steps, restarts=restarts) as carry_out:
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
            mean_over_starts=mean_over_starts,
            effort=effort,
            seed=seed,
            batch_size=batch_size,
            carry_out=carry_out,
        )
    written = report.to_dict() | {
        "model": model,
        "weights": str(weights),
        "weights_unwrapped": asdict(unwrapped),
        "dataset": dataset,
        "fingerprint": fingerprint,
    }
    # Written before anything is printed: a terminal may be gone by now.
    if save_adversarial is not None:
        save_points(save_adversarial, report, labels, dataset, fingerprint)
    if out is not None:
        write_json(out, written)
    print(report_text(written))
    if save_adversarial is not None:
        print(f"adversarial points written to {save_adversarial}")
    if out is not None:
        print(f"written to {out}")
    return written


def check_file(
    points: Path,
    *,
    model: str,
    weights: Path,
    weights_key: str | None,
    data_root: Path,
    device: str,
    batch_size: int,
) -> None:
    """Check the points that ``nls attack --save-adversarial`` wrote, and print what they are.

    Raises:
        UserError: a point is outside the ball or [0, 1], the model judges it otherwise than the file says, or the
            input does not fit.
    """
    place = choose_device(device)
    saved = read_adversarial(points)
    network, _ = _network(model, weights, weights_key, place)
    images, labels, _, fingerprint = _test_images(saved.dataset, data_root, len(saved.points), place)
    if fingerprint != saved.fingerprint:
        raise UserError(f"{points}: was made on other test images than those of {saved.dataset} here")
    found = check_adversarial(saved, network, images, labels, batch_size)
    wrong = [
        f"{found[key]} of {found['n']} points {fault}"
        for key, fault in (
            ("outside_ball", f"are outside the ball (farthest {found['farthest']:.7g})"),
            ("outside_unit_box", "are outside [0, 1]"),
            ("other_verdict", "are judged otherwise by this model with these weights"),
        )
        if found[key]
    ]
    if wrong:
        raise UserError(f"{points}: {'; '.join(wrong)}")
    norm = _NORMS[saved.ball.norm]
    ties = f", but for {found['ties']} on the boundary itself" if found["ties"] else ""
    print(
        f"points        {found['n']} of {saved.dataset}, in [0, 1]\n"
        f"threat model  {norm}, eps {saved.ball.eps:g}; the farthest is {found['farthest']:.7g} away\n"
        f"verdicts      as reported{ties}: robust accuracy {found['robust_accuracy']:.2%}"
    )


def report_text(report: dict[str, Any]) -> str:
    """Return the report as lines for a terminal."""
    settings, pgd = report["settings"], report["settings"]["pgd"]
    norm = _NORMS[settings["norm"]]
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
    lines += [f"warning: {line}" for line in report["warnings"].values()]
    lines += [f"gradient masking suspected: {reason}" for reason in report["gradient_masking"]["reasons"]]
    return "\n".join(lines)


def _network(
    model: str, weights: Path, weights_key: str | None, device: torch.device
) -> tuple[nn.Module, Unwrapped]:
    network = _build(model)
    kinds = {str(value.dtype).removeprefix("torch.") for value in network.state_dict().values()}
    if other := sorted(kinds & {"float16", "bfloat16", "float64"}):
        network = network.float()
        print(f"network       its {', '.join(other)} turned into float32, in which every attack searches")
    unwrapped = load_weights(network, weights, weights_key)
    if unwrapped.words():
        print(f"weights       {unwrapped.words()}")
    return network.to(device), unwrapped


def _test_images(
    dataset: str, data_root: Path, limit: int | None, device: torch.device
) -> tuple[Tensor, Tensor, int, str]:
    """Return the first test images and labels, the number of classes, and the fingerprint of all test images."""
    data = load_images(dataset, data_root)
    images = torch.from_numpy(data.test.images[:limit].copy()).to(device).float() / 255
    labels = torch.from_numpy(data.test.labels[:limit].copy()).to(device)
    return images, labels, data.classes, data.fingerprint["test"]


def _build(name: str) -> nn.Module:
    if not is_user_code(name):
        raise UserError(f"--model {name}: write FILE.py:FACTORY")
    factory = load_user_code(name)
    with told_as_theirs(name, "the factory failed", "it takes no argument"):
        network = factory()
    if not isinstance(network, nn.Module):
        raise UserError(f"{name}: returned {type(network).__name__}, not a torch.nn.Module")
    if isinstance(network, torch.jit.ScriptModule):
        raise UserError(f"{name}: returned a TorchScript program: return the module that it was made from")
    if any(value.is_meta for value in network.state_dict().values() if isinstance(value, Tensor)):
        raise UserError(f"{name}: the network's weights are on the meta device: build it on the CPU")
    return network
