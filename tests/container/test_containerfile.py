"""The container file says what the README says; ``build.sh`` beside this builds it, in a quarter of an hour."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from nls.geometry.meshlab import OPENGL

ROOT = Path(__file__).parents[2]
STEPS = re.findall(
    r"^([A-Z]+) (.*?)$", (ROOT / "Containerfile").read_text().replace("\\\n", ""), re.MULTILINE
)
README = (ROOT / "README.md").read_text()


def step(word):
    return [rest for first, rest in STEPS if first == word]


def test_its_python_is_one_that_the_project_takes():
    (image,) = step("FROM")
    version = re.fullmatch(r"python:(3\.\d+)-slim", image)[1]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert version in SpecifierSet(project["requires-python"])


def test_it_installs_the_packages_that_the_readme_names_and_errors_ask_for():
    packages = re.search(r"install --yes --no-install-recommends ([\w ]+?) +&&", step("RUN")[0])[1].split()
    assert packages == re.search(r"`apt-get install ([\w ]+)`", README)[1].split()
    assert set(packages) - {"make", "git"} == set(re.search(r"apt-get install ([\w ]+)", OPENGL)[1].split())


def test_it_ends_with_the_readmes_command():
    targets = [re.fullmatch(r"make (\S+)", step("RUN")[1])[1], *re.findall(r'"(\w+)"', step("CMD")[0])[1:]]
    assert targets == [".venv/installed", "smoke"]
    assert "\nmake smoke " in README
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{target}:" in makefile for target in targets)


def test_what_is_copied_holds_all_that_git_has():
    """Provenance needs the commit, and a checkout that is as committed."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    ignored = (ROOT / ".containerignore").read_text().split()
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    tops = {Path(line).parts[0] for line in files.stdout.splitlines()}
    assert not {*tops, ".git"} & {*ignored}
    assert {Path(line).parts[1] for line in files.stdout.splitlines() if line.startswith("results/")} == {
        line.removeprefix("!results/") for line in ignored if line.startswith("!")
    }
