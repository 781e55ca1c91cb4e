"""What every verb has: help with an example that is accepted, silence, JSON, and completion in a shell."""

import inspect
import json
import os
import pty
import shlex
import shutil
import subprocess
import sys
import termios
from contextlib import suppress

import pytest
import torch
import trimesh
import yaml
from made_up import finish

from nls.attacks import Effort, attack
from nls.cli import _parser, main
from nls.data import scanner
from nls.engine.progress import Progress
from nls.engine.user_code import load_user_code
from nls.experiments.reconstruct_file import reconstruct_file
from nls.geometry.metrics import CHAMFER_POINTS, F_SCORE_SHARE
from nls.reconstruction.api import QUALITIES

# Verb to the file that holds it.
VERBS = {
    **dict.fromkeys(("attack", "verify"), "classifiers"),
    **dict.fromkeys(("reconstruct", "mesh", "compare", "chamfer", "represent"), "surfaces"),
    **dict.fromkeys(("data fetch", "data scan"), "data"),
    **dict.fromkeys(("doctor", "run", "status", "table", "figure", "report", "keep"), "benchmarks"),
}


def help_of(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*verb.split(), "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_the_example_in_a_verbs_help_is_accepted(verb, capsys, monkeypatch):
    text = help_of(verb, capsys)
    assert text.startswith(f"usage: nls {verb} [-h] [-q]")
    example = text.split("example:\n  ")[1].strip()
    program, *words = shlex.split(example)
    assert program == "nls"
    assert words[: len(verb.split())] == verb.split()
    done = []
    name = f"nls.cli.{VERBS[verb]}._{verb.replace(' ', '_')}"
    monkeypatch.setattr(name, lambda arguments: done.append(arguments))
    assert main(words) == 0
    assert len(done) == 1


def test_defaults_are_those_of_the_functions_whose_import_would_take_too_long_for_help():
    def asked(words):
        return _parser().parse_args(words.split())

    def defaults(function, words):
        parameters = inspect.signature(function).parameters
        expected = {name: each.default for name, each in parameters.items() if each.default is not each.empty}
        options = vars(asked(words))
        return {name: options[name] for name in expected if name in options}, expected

    words = "attack --model a.py:b --weights w.pt --dataset mnist --eps 0"
    found, expected = defaults(attack, words)
    assert found.pop("attacks") == ",".join(expected.pop("attacks"))
    assert found == {name: value for name, value in expected.items() if name not in ("effort", "carry_out")}
    options = asked(words)
    assert Effort(options.apgd_steps, options.fab_steps, options.queries) == Effort()
    found, expected = defaults(reconstruct_file, "reconstruct a.ply -o b.ply")
    assert found == expected
    scan = asked("data scan a.ply -o b.ply")
    assert (scan.points, scan.noise) == (scanner.POINTS, scanner.NOISE)
    compared = asked("compare a.ply b.ply")
    assert (compared.points, compared.f_share) == (CHAMFER_POINTS, F_SCORE_SHARE)
    assert asked("chamfer a.ply b.ply").points == CHAMFER_POINTS
    assert asked("mesh a.safetensors -o b.ply").resolution == QUALITIES["default"].resolution


def test_the_help_names_every_verb_once_in_its_group(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    listed = [line.split()[0] for line in text.split("options:")[0].splitlines() if line.startswith("  ")]
    assert sorted(listed) == sorted({verb.split()[0] for verb in VERBS})
    assert text.count("\n\n") >= 5
    assert "\x1b" not in text


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trimesh.creation.icosphere(1).export("ball.ply")
    trimesh.creation.box().export("box.ply")
    return tmp_path


def test_quiet_prints_nothing_but_figures_and_complaints(shapes, capfd):
    assert main(["represent", "ball.ply", "-o", "new/ball.safetensors", "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")
    assert (shapes / "new/ball.safetensors").exists()
    assert main(["chamfer", "ball.ply", "box.ply", "--points", "100", "--quiet"]) == 0
    out, err = capfd.readouterr()
    assert set(json.loads(out)) == {"l1", "l2"}
    assert err == ""
    assert main(["chamfer", "ball.ply", "none.ply", "--quiet"]) == 2
    told = capfd.readouterr().err
    assert told.startswith("nls: cannot read none.ply")
    assert told.endswith(": name a file that is there, relative to this directory\n")


@pytest.mark.parametrize("quiet", [True, False])
def test_bars_are_for_a_terminal_that_is_not_to_be_quiet(monkeypatch, quiet):
    """The terminal is a real one: what stands on it is read from its other end."""
    monkeypatch.setattr("nls.cli.surfaces._chamfer", lambda arguments: list(Progress().steps(3, "fit")))
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        assert main(["chamfer", "a.ply", "b.ply", *(["-q"] if quiet else [])]) == 0
        terminal.write(".")
    seen = b"".join(_read_to_end(ours))
    os.close(ours)
    assert seen == b"." if quiet else b"fit: 100%" in seen


def _read_to_end(terminal):
    """Read what was written to the other end, which is closed; it need not come in one piece."""
    with suppress(OSError):  # Linux says so that there is no more
        while piece := os.read(terminal, 4096):
            yield piece


def test_json_is_all_that_the_output_holds(shapes, capfd):
    spec = {"suite": "s", "experiment": "figure2", "run": "one"}
    path = shapes / "results/s/specs/figure2/one.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(spec))
    finish(shapes / "results/s/figure2/one", spec, {})
    assert main(["status", "--suite", "s", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["experiments"]["figure2"]["done"] == found["all"]["runs"] == 1
    assert found["all"]["seconds_left"] == 0
    kept = shapes / "results/reference/s/table1.csv"
    kept.parent.mkdir(parents=True)
    kept.write_text("run,key,value\n")
    assert main(["table", "table1", "--suite", "s", "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["rows"] == []
    assert "wrote reports/s/table1.csv" in err
    for words in (["compare", "ball.ply", "box.ply"], ["compare", "ball.ply", "box.ply", "--json"]):
        assert main([*words, "--points", "500"]) == 0
        assert "chamfer_l2" in json.loads(capfd.readouterr().out)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here: completion is not tried")
def test_bash_completes_verbs_options_and_files(shapes, capsys):
    assert main(["--print-completion", "bash"]) == 0
    script = capsys.readouterr().out
    asked = (["st"], ["attack", "--weights-"], ["data", "f"], ["mesh", "ba"], ["chamfer", "ball.ply", "bo"])
    calls = [
        f"COMP_WORDS=({shlex.join(['nls', *words])}); COMP_CWORD={len(words)}; "
        f'_shtab_nls nls {words[-1]} x; echo "${{COMPREPLY[@]}}"'
        for words in asked
    ]
    done = subprocess.run(["bash", "-c", "\n".join([script, *calls])], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["status", "--weights-key", "fetch", "ball.ply", "box.ply"], (
        done.stderr
    )


CPU_ALLOCATOR = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "MemoryError"),
        (MemoryError("Unable to allocate 4.47 GiB"), "Unable to allocate 4.47 GiB"),
        (torch.OutOfMemoryError("CUDA out of memory.\nGPU 0 has 1 GiB"), "CUDA out of memory."),
        (RuntimeError(f"{CPU_ALLOCATOR}\nframe #0"), CPU_ALLOCATOR),
        (RuntimeError("std::bad_alloc"), "std::bad_alloc"),
    ],
)
def test_a_lack_of_memory_is_one_line_and_no_fault_of_a_users_code(
    tmp_path, monkeypatch, capsys, error, told
):
    (tmp_path / "own.py").write_text("def fail(error):\n    raise error\n")
    fail = load_user_code(f"{tmp_path}/own.py:fail")
    monkeypatch.setattr("nls.cli.surfaces._chamfer", lambda arguments: fail(error))
    assert main(["chamfer", "a.ply", "b.ply"]) == 1
    remedy = "take a smaller --batch-size, --points, --resolution or batch_size, or --device cpu"
    assert capsys.readouterr().err == f"nls: out of memory ({told}): {remedy}\n"


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        (["table", "table1"], "reports"),
        (["figure", "figure1"], "reports"),
        (["report"], "reports"),
        (["keep"], "results/reference"),
    ],
)
def test_a_folder_that_cannot_be_written_is_one_line(shapes, capsys, words, folder):
    spec = {"suite": "s", "experiment": "figure2", "run": "one"}
    path = shapes / "results/s/specs/figure2/one.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(spec))
    finish(shapes / "results/s/figure2/one", spec, {})
    for product in words[1:]:
        kept = shapes / f"results/reference/s/{product}.csv"
        kept.parent.mkdir(parents=True)
        kept.touch()
    (shapes / folder).write_text("a file")
    assert main([*words, *(["s"] if words == ["keep"] else ["--suite", "s"])]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"nls: {folder}")
    assert told.endswith("make it writable or work in another folder\n")
    assert told.count("\n") == 1


def test_a_permission_that_a_users_code_lacks_is_told_as_theirs(tmp_path, monkeypatch, capsys):
    (tmp_path / "own.py").write_text(
        "def fail():\n    raise PermissionError(13, 'Permission denied', 'theirs')\n"
    )
    fail = load_user_code(f"{tmp_path}/own.py:fail")
    monkeypatch.setattr("nls.cli.surfaces._chamfer", lambda arguments: fail())
    assert main(["chamfer", "a.ply", "b.ply"]) == 1
    assert "raised by your own code" in capsys.readouterr().err
