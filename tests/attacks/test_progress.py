"""The bar of ``nls attack``: never back, never past its end, full in the end, and gone where there is no terminal."""

import io

import pytest
import torch
from torch import nn

from nls.attacks import attack
from nls.attacks.library import Effort
from nls.attacks.progress import shown

ATTACKS = ("pgd-xent", "square", "autoattack")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def attacked(monkeypatch, stream, model):
    torch.manual_seed(0)
    images, labels = torch.rand(12, 1, 4, 4), torch.randint(4, (12,))
    effort = Effort(3, 2, 10)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("tqdm.std.tqdm.monitor_interval", 0)
    with shown(model, len(images), 4, ATTACKS, effort, steps=3, restarts=2) as carry_out:
        options = {"eps": 0.1, "attacks": ATTACKS, "steps": 3, "restarts": 2, "effort": effort}
        return attack(model, images, labels, batch_size=5, carry_out=carry_out, **options).to_dict()


@pytest.fixture
def model():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 4))


def test_the_bar_runs_from_nothing_to_its_end_and_changes_no_figure(monkeypatch, model):
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    terminal = Terminal()
    found = attacked(monkeypatch, terminal, model)
    lines = [line for line in terminal.getvalue().replace("\n", "\r").split("\r") if "%|" in line]
    shares = [int(line.split("%|")[0].split()[-1]) for line in lines]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[-1] == 100
    assert len(set(shares)) > 3
    assert "left" in lines[1]
    names = {line.split(",")[0] for line in lines if "," in line}
    assert {"pgd-xent", "square", "apgd-ce"} <= names
    assert not model._forward_hooks
    silent = io.StringIO()
    assert attacked(monkeypatch, silent, model) == found
    assert silent.getvalue() == ""
