"""The ways to install the project agree with one another."""

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def plain(requirement):
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def test_conda_installs_the_same_package_and_pins_as_make():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    makefile = (ROOT / "Makefile").read_text()
    assert "--constraint constraints.txt --editable '.[dev,slurm]'" in makefile
    assert pip == ["--constraint constraints.txt", "--editable .[dev,slurm]"]
    command = "--no-deps --requirement requirements-no-deps.txt"
    assert command in makefile
    assert command.replace("--requirement", "-r") in (ROOT / "environment.yml").read_text()


def test_every_dependency_is_pinned():
    asked = PROJECT["dependencies"] + [
        r for extra in PROJECT["optional-dependencies"].values() for r in extra
    ]
    pinned = {plain(name) for name in PINS}
    assert {plain(requirement) for requirement in asked} - pinned == {"nls"}


def test_every_pin_takes_the_first_release_of_each_python():
    """Debian 12 has Python 3.11.2; pip tells a pin that wants 3.11.5 as a conflict of other packages."""
    pinned = {plain(name) for name in PINS}
    for package in distributions():
        wanted = SpecifierSet(package.metadata["Requires-Python"] or "")
        if plain(package.metadata["Name"]) in pinned:
            assert all(f"3.{minor}.0" in wanted for minor in (11, 12, 13)), package.metadata["Name"]


def test_the_lock_names_no_host_and_keeps_requests_current():
    text = (ROOT / "constraints.txt").read_text() + (ROOT / "requirements-no-deps.txt").read_text()
    assert "://" not in text
    assert "index-url" not in text
    assert tuple(map(int, PINS["requests"].split("."))) >= (2, 32)
