"""What Snakemake's users expect of a workflow: targets that are named, and use as a module of another workflow."""

import os
import re
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.workflow

REPOSITORY = Path(__file__).parents[2]
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE))
SMALL = {"suite": "small", "experiments": {"figure1": {"training": {"steps": 1}}}}


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("tabel1", "tabel1 is no target; take one of figure1, report"),
        ("table1", "the suite small has no table1; its targets: figure1, report"),
    ],
)
def test_a_word_that_is_no_target_ends_in_a_line_that_names_the_targets(snakemake, tmp_path, target, told):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    done = snakemake(tmp_path, target, "--dry-run", "--configfile", "small.yaml")
    assert done.returncode == 1
    assert f"nls: {told}\n" in done.stdout
    assert "Exception" not in done.stdout


def test_a_run_that_is_not_in_the_suite_ends_in_a_line(snakemake, tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    wanted = "results/small/figure1/l3/metrics.json"
    done = snakemake(tmp_path, wanted, "--dry-run", "--configfile", "small.yaml")
    assert done.returncode == 1
    assert "nls: figure1 has no run 'l3'; take one of results/small/specs/figure1/*.yaml\n" in done.stdout
    assert "Exception" not in done.stdout


@pytest.mark.parametrize("ending", ["fails", "fails alone", "is stopped"])
def test_what_is_there_is_reported_where_a_target_fails(tmp_path, ending):
    """Not where a person stops it, nor where single runs are asked for."""
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    program = tmp_path / "bin/nls"
    program.parent.mkdir()
    stop = "kill -INT $(cat pid); sleep 2" if ending == "is stopped" else ":"
    program.write_text(f'#!/bin/sh\necho "$1" >> calls\n[ "$1" != run ] || {{ {stop}; exit 1; }}\n')
    program.chmod(0o755)
    target = "results/small/figure1/l2/metrics.json" if ending == "fails alone" else "figure1"
    words = [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile", target]
    done = subprocess.run(
        ["sh", "-c", 'echo $$ > pid; exec "$@"', "sh", *words, "--cores", "1", "--configfile", "small.yaml"],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        # Whoever runs tests in the background may ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert done.returncode == 1, done.stderr
    calls = (tmp_path / "calls").read_text().split()
    assert ("report" in calls) == (ending == "fails"), done.stderr
    assert ("Some jobs failed" in done.stderr) == (ending == "fails")
    assert ("Stopped: the same command goes on" in done.stderr) == (ending == "is stopped")


@pytest.mark.parametrize("profile", ["default", "slurm"])
@pytest.mark.parametrize("word", ["figure1", "smal.yaml"])
def test_a_target_or_a_slip_after_configfile_ends_in_a_line(snakemake, tmp_path, profile, word):
    """Snakemake takes both for a second config that is not there."""
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    place = REPOSITORY / "workflow/profiles" / profile
    done = snakemake(tmp_path, "--workflow-profile", place, "--configfile", "small.yaml", word)
    assert done.returncode == 1
    using, told = done.stdout.splitlines()
    assert using.startswith("Using workflow specific profile")
    assert told.startswith(f"nls: --configfile '{word}': no such file; a target goes before --configfile")


def test_after_an_equals_sign_the_order_is_free(snakemake, tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    done = snakemake(tmp_path, "--dry-run", "--configfile=small.yaml", "figure1")
    assert done.returncode == 0, done.stdout
    assert re.search(r"figure1_run +4\n", done.stdout), done.stdout


def test_several_runs_are_asked_for_by_their_files(snakemake, tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    wanted = [f"results/small/figure1/{run}/metrics.json" for run in ("cross_entropy", "linf", "l2")]
    # To touch is to plan for real, and to run nothing.
    done = snakemake(tmp_path, *wanted, "--touch", "--cores", "1", "--configfile", "small.yaml")
    assert "Missing input files" not in done.stdout, done.stdout
    assert len(list((tmp_path / "results/small/specs/figure1").glob("*.yaml"))) == 4


def test_another_workflow_takes_the_suite_as_a_module(snakemake, tmp_path):
    (tmp_path / "Snakefile").write_text(
        f"""
module nls:
    snakefile:
        "{REPOSITORY}/workflow/Snakefile"
    config:
        {SMALL}


use rule * from nls as nls_*


rule all:
    default_target: True
    input:
        rules.nls_figure1.input,
"""
    )
    done = snakemake(tmp_path, "--snakefile", tmp_path / "Snakefile", "--cores", "1", "--dry-run")
    assert done.returncode == 0, done.stdout
    assert re.search(r"nls_figure1_run +4\n", done.stdout)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".snakemake", "Snakefile"]


def test_what_asks_for_a_gpu_is_sent_to_the_partition_of_gpus():
    text = (REPOSITORY / "workflow/profiles/slurm/config.yaml").read_text()
    assert text.count("'gpu'") == 1, "a cluster's own name is written once"
    places = yaml.safe_load(text)["set-resources"]
    for path in sorted((REPOSITORY / "config").glob("*.yaml")):
        for name, experiment in yaml.safe_load(path.read_text())["experiments"].items():
            if experiment.get("resources", {}).get("gpu"):
                rule = f"{name}_run"
                assert places.get(rule, {}).get("slurm_partition") == "'gpu'", f"{path.name}: {rule}"


def test_the_rules_environment_stands_alone_with_the_same_pins():
    environment = yaml.safe_load((REPOSITORY / "workflow/envs/nls.yaml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert dict(line.split("==") for line in pip).items() <= PINS.items()
    project = (REPOSITORY / "pyproject.toml").read_text()
    asked = re.search(r"^dependencies = \[(.*?)^\]", project, re.DOTALL | re.MULTILINE)[1]
    named = {re.match(r"[\w-]+", line).group().lower() for line in re.findall(r'"(.+?)"', asked)}
    assert {line.split("==")[0].lower() for line in pip} == named


def test_what_snakemake_runs_in_that_environment_adds_nls_and_leaves_the_checkout_as_it_was(tmp_path):
    """The packages of the environment come from here, as conda's would be there already."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    before = {path.name for path in REPOSITORY.iterdir()}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "NLS_SOURCE": str(REPOSITORY),
        "PATH": f"{tmp_path / 'venv/bin'}{os.pathsep}{os.environ['PATH']}",
        "PIP_NO_BUILD_ISOLATION": "false",  # which is how pip wants to be told not to isolate
    }
    script = REPOSITORY / "workflow/envs/nls.post-deploy.sh"
    subprocess.run(["bash", script], check=True, env=environment, cwd=tmp_path)
    assert (packages / "nls/reporting/page.html").exists()
    assert (tmp_path / "venv/bin/nls").exists()
    assert {path.name for path in REPOSITORY.iterdir()} == before
