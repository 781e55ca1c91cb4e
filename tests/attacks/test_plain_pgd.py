"""``nls attack`` against PGD written here from the paper's text: same starts, same steps, float32.

``python tests/attacks/test_plain_pgd.py RUN...`` compares them on trained networks of Table 1; docs/robustness.md.
"""

import argparse
import json
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from nls.attacks import Ball, attack
from nls.data import load_images
from nls.engine.seeds import torch_stream
from nls.networks.classifiers import build_classifier
from nls.networks.weights import load_weights


def plain_pgd(model, images, labels, start, eps, steps, step_size, loss):
    """Return where the model is right on the last iterate (Madry et al., 2018, Section 2.1)."""
    points = start
    for _ in range(steps):
        points = points.detach().requires_grad_(True)
        logits = model(points)
        if loss == "xent":
            value = nn.functional.cross_entropy(logits, labels, reduction="sum")
        else:
            others = logits.masked_fill(nn.functional.one_hot(labels, logits.shape[1]).bool(), float("-inf"))
            value = (others.max(dim=1).values - logits.gather(1, labels[:, None])[:, 0]).sum()
        value.backward()
        with torch.no_grad():
            points = points + step_size * points.grad.sign()
            points = torch.min(torch.max(points, images - eps), images + eps).clamp(0, 1)
    with torch.no_grad():
        return model(points).argmax(dim=1) == labels


def survivors(model, images, labels, *, eps, steps, step_size, loss, seed=0, batch=250):
    """Return where the model is right: without an attack, after ``nls attack``, and after plain PGD."""
    report = attack(
        model, images, labels, eps=eps, attacks=[f"pgd-{loss}"], steps=steps, step_size=step_size, seed=seed
    )
    start = Ball(eps).random(images, torch_stream(seed, "start", 0))
    model.eval()
    plain = torch.cat([
        plain_pgd(model, *parts, eps, steps, step_size, loss)
        for parts in zip(images.split(batch), labels.split(batch), start.split(batch), strict=True)
    ])  # fmt: skip
    return report.clean, report.robust[f"pgd-{loss}"], plain & report.clean


@pytest.fixture(scope="module")
def converged():
    """A ConvNet trained by PGD on noisy bright bars until PGD breaks it only in part."""
    draws = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    labels = torch.arange(150) % 6
    images = torch.rand(150, 1, 8, 8, generator=draws) * 0.6
    images[torch.arange(150), 0, labels] += 0.4
    images.clamp_(0, 1)
    model = build_classifier("convnet-small", 1, 8, 6)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(90):
        chosen = torch.arange(50) + 50 * (step % 3)
        start = Ball(0.15).random(images[chosen], draws)
        points = start
        for _ in range(3):
            points = points.detach().requires_grad_(True)
            nn.functional.cross_entropy(model(points), labels[chosen]).backward()
            points = (points + 0.07 * points.grad.sign()).detach()
            points = torch.min(torch.max(points, images[chosen] - 0.15), images[chosen] + 0.15).clamp(0, 1)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(points), labels[chosen]).backward()
        optimizer.step()
    return model.eval(), images, labels


@pytest.mark.parametrize("loss", ["xent", "margin"])
def test_never_leaves_more_than_plain_float32_pgd(converged, loss):
    model, images, labels = converged
    clean, ours, plain = survivors(model, images, labels, eps=0.2, steps=20, step_size=0.02, loss=loss)
    assert 0.1 < plain.sum() / clean.sum() < 0.9
    assert ours.sum() <= plain.sum()
    # What plain PGD had broken on its way and lost again by its end is all the difference.
    assert ours.sum() >= plain.sum() - 5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="results/<suite>/table1/<run>")
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--step-size", type=float, default=0.01)
    parser.add_argument("--eps", type=float, default=0.3)
    arguments = parser.parse_args()
    worse = 0
    for run in arguments.runs:
        row = yaml.safe_load((run / "spec.yaml").read_text())["row"]
        data = load_images(row["dataset"], arguments.data_root)
        _, channels, side, _ = data.train.images.shape
        model = build_classifier(row["network"], channels, side, data.classes)
        load_weights(model, run / "weights.safetensors")
        images = torch.from_numpy(data.test.images[: arguments.examples].copy()).float() / 255
        labels = torch.from_numpy(data.test.labels[: arguments.examples].copy())
        for loss in ("xent", "margin"):
            clean, ours, plain = survivors(
                model,
                images,
                labels,
                eps=arguments.eps,
                steps=arguments.steps,
                step_size=arguments.step_size,
                loss=loss,
            )
            counts = {
                "run": run.name,
                "loss": loss,
                "n": len(images),
                "clean": int(clean.sum()),
                "nls attack": int(ours.sum()),
                "plain PGD": int(plain.sum()),
                "left by nls attack only": int((ours & ~plain).sum()),
            }
            print(json.dumps(counts), flush=True)
            worse += counts["nls attack"] > counts["plain PGD"]
    return 1 if worse else 0


if __name__ == "__main__":
    raise SystemExit(main())
