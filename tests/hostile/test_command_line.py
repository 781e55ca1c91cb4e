"""Words and surroundings of a command line that cannot be meant."""

import os
import signal
import subprocess
import sys

import pytest

from nls.cli import main

ATTACK = ["attack", "--model", "m.py:M", "--weights", "w.pt", "--dataset", "digits", "--eps"]
RECONSTRUCT = ["reconstruct", "scan.ply", "-o", "mesh.ply"]
CHAMFER = ["chamfer", "a.ply", "b.ply"]
SCAN = ["data", "scan", "a.ply", "-o", "s.ply"]
HUGE = "9" * 5000


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["fly"], ["'fly'", "run", "status", "nls --help"]),
        (["--fly"], ["--fly", "nls --help"]),
        (["data"], ["ACTION", "nls data --help"]),
        (["run"], ["SPEC.yaml", "--out"]),
        (["run", "a\nb", "c", "--out", "d"], ["unrecognized arguments: c"]),
        (["status", "--suite", "s", "x\ny"], ["x\\ny"]),
        ([*ATTACK, "x"], ["nls attack: argument --eps: 'x' is no number; see nls attack --help"]),
        ([*ATTACK, "inf"], ["--eps", "'inf'", "from 0"]),
        ([*ATTACK, "nan"], ["--eps", "'nan'"]),
        ([*ATTACK, "-1"], ["--eps", "'-1'"]),
        ([*ATTACK, "1e300"], ["--eps", "'1e300'"]),
        ([*ATTACK, "8"], ["--eps 8", "did you mean 8/255?"]),
        ([*ATTACK, "8/0"], ["--eps", "'8/0'"]),
        ([*ATTACK, "1/" + HUGE], ["--eps", "is no number"]),
        ([*ATTACK, "0.1", "--step-size", "inf"], ["--step-size"]),
        ([*ATTACK, "0.1", "--step-size", "0"], ["--step-size", "above 0"]),
        ([*ATTACK, "0.1", "--step-size", "2"], ["--step-size 2", "2/255"]),
        ([*ATTACK, "0.1", "--steps", "-1"], ["--steps"]),
        ([*ATTACK, "0.1", "--steps", "1.5"], ["--steps", "whole number"]),
        ([*ATTACK, "0.1", "--steps", HUGE], ["--steps", "9…"]),
        ([*ATTACK, "0.1", "--restarts", "0"], ["--restarts"]),
        ([*ATTACK, "0.1", "--limit", "0"], ["--limit"]),
        ([*ATTACK, "0.1", "--limit", "-5"], ["--limit"]),
        ([*ATTACK, "0.1", "--batch-size", "0"], ["--batch-size"]),
        ([*ATTACK, "0.1", "--batch-size", "1" + "0" * 30], ["--batch-size"]),
        ([*ATTACK, "0.1", "--seed", "-1"], ["--seed"]),
        ([*ATTACK, "0.1", "--seed", str(2**64)], ["--seed"]),
        ([*ATTACK, "0.1", "--seed", "one"], ["--seed", "'one'"]),
        ([*ATTACK, "0.1", "--apgd-steps", "0"], ["--apgd-steps"]),
        ([*ATTACK, "0.1", "--fab-steps", "0"], ["--fab-steps"]),
        ([*ATTACK, "0.1", "--queries", "0"], ["--queries"]),
        ([*ATTACK, "0.1", "--norm", "l1"], ["--norm", "l2"]),
        ([*ATTACK, "0.1", "--device", "tpu"], ["--device", "cuda"]),
        ([*RECONSTRUCT, "--steps", "0"], ["--steps"]),
        ([*RECONSTRUCT, "--steps", HUGE], ["--steps"]),
        ([*RECONSTRUCT, "--resolution", "1"], ["--resolution"]),
        ([*RECONSTRUCT, "--resolution", "100000"], ["--resolution"]),
        ([*RECONSTRUCT, "--seed", "-1"], ["--seed"]),
        ([*CHAMFER, "--points", "0"], ["--points"]),
        ([*CHAMFER, "--points", "inf"], ["--points"]),
        ([*CHAMFER, "--points", HUGE], ["--points"]),
        ([*CHAMFER, "--seed", "-1"], ["--seed"]),
        ([*SCAN, "--noise", "nan"], ["--noise"]),
        ([*SCAN, "--noise", "-0.1"], ["--noise"]),
        ([*SCAN, "--noise", "inf"], ["--noise"]),
        ([*SCAN, "--points", "-3"], ["--points"]),
        ([*SCAN, "--seed", "1e3"], ["--seed", "'1e3'"]),
        (["chamfer", "a\nb.ply", "c.ply"], ["a\\nb.ply"]),
        (["chamfer", "\udcff.ply", "c.ply"], ["\\udcff.ply"]),
    ],
)
def test_words_that_cannot_be_meant_are_refused_naming_the_option(refused, words, told):
    refused(words, *told)


def test_nls_alone_prints_its_help_and_its_version_when_asked(capfd):
    assert main([]) == 0
    assert "reconstruct" in capfd.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capfd.readouterr().out.startswith("nls ")


def nls(words, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "nls", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


def test_a_fraction_is_a_radius():
    from nls.arguments import number

    assert number(0, 1)("8/255") == 8 / 255


def test_a_terminal_that_knows_only_ascii_gets_escapes(tmp_path):
    environment = os.environ | {"PYTHONIOENCODING": "ascii:strict"}
    process = nls(["chamfer", "Fläche.ply", "b.ply"], env=environment, cwd=tmp_path)
    assert b"Fl\\xe4che.ply" in process.communicate()[1]
    assert process.returncode == 2


def test_a_reader_that_goes_away_stops_nothing(tmp_path):
    """The result of ``nls represent`` is written, and its line goes nowhere."""
    import trimesh

    trimesh.creation.icosphere(subdivisions=0).export(tmp_path / "ball.ply")
    process = nls(["represent", "ball.ply", "-o", "ball.safetensors"], cwd=tmp_path)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0
    assert (tmp_path / "ball.safetensors").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_outside_of_a_run_is_one_line(tmp_path, number):
    os.mkfifo(tmp_path / "slow.yaml")  # reading it waits for a writer
    process = nls(["run", "slow.yaml", "--out", "out"], cwd=tmp_path)
    with (tmp_path / "slow.yaml").open("w"):  # opened once the process reads
        process.send_signal(number)
        assert process.wait() == 128 + number
    assert process.stderr.read() == f"nls: stopped by {number.name}\n".encode()
    process.send_signal(number)
