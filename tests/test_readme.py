"""The README's examples run as they stand."""

import re
from pathlib import Path

import torch
from torch import nn

from nls.engine.user_code import load_user_code

README = (Path(__file__).parents[1] / "README.md").read_text()


def block_with(words):
    """Return the indented block that holds some words, without its indentation."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", README, re.MULTILINE)
    (block,) = [block for block in blocks if words in block]
    return re.sub(r"^    ", "", block.strip("\n"), flags=re.MULTILINE)


def test_the_python_example(capsys):
    exec(compile(block_with("import reconstruct"), "README.md", "exec"), {})
    assert capsys.readouterr().out.strip().endswith("True 1")


def test_the_loss_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = block_with("class Squared").split("losses:")[0]
    Path("my_loss.py").write_text(code)
    loss = load_user_code("my_loss.py:Squared")(weight=2.0)
    network = nn.Linear(3, 1)
    points, labels = torch.rand(4, 3), torch.tensor([1.0, -1.0, 1.0, 1.0])
    expected = 2 * (network(points).flatten() - labels).square().mean()
    torch.testing.assert_close(loss(network, points, labels), expected)


def test_every_file_that_is_linked_exists():
    for path in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (Path(__file__).parents[1] / path).exists(), path


def test_every_config_has_its_line():
    configs = {path.name for path in (Path(__file__).parents[1] / "config").glob("*.yaml")}
    assert configs == set(
        re.findall(r"`config/(\w+\.yaml)`", README.split("## Which config")[1].split("##")[0])
    )
