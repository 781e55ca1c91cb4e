"""Files damaged at random: refused in one line, or read as what they are; never a traceback, never wrong numbers."""

import copy
import functools
import io
import json
import shutil
import tempfile
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import torch
import trimesh
import yaml
from good import GOOD
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from nls.cli import main
from nls.engine.yaml_files import read_yaml
from nls.errors import UserError
from nls.experiments import load_suite, run_spec
from nls.networks.weights import load_weights

# A place in a file as a share of its length, what is done there, and with how many or which bytes.
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.sampled_from(["flip", "delete", "insert", "repeat", "cut", "zero"]),
        st.integers(1, 40),
        st.binary(min_size=1, max_size=8)
        | st.sampled_from([b"nan", b"-1", b"9" * 30, b"\n", b"1e300", b"inf"])
        | st.sampled_from([b" !!int ", b" &a ", b" *a ", b"[", b'"', b"? "]),
    ),
    min_size=1,
    max_size=3,
)  # fmt: skip


def damaged(content, edits):
    """Return the content after some edits."""
    for share, kind, count, extra in edits:
        at = min(int(share * len(content)), max(len(content) - 1, 0))
        before, here, after = content[:at], content[at : at + count], content[at + count :]
        match kind:
            case "flip":
                here = bytes(byte ^ (1 << count % 8) for byte in here[:1]) + here[1:]
            case "delete":
                here = b""
            case "insert":
                here = extra + here
            case "repeat":
                here = here + here
            case "cut":
                here = after = b""
            case "zero":
                here = bytes(len(here))
        content = before + here + after
    return content


def nls(*words):
    """Run a command and return its exit code and what it complains of."""
    out, error = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(error):
        code = main([str(word) for word in words])
    return code, error.getvalue(), out.getvalue()


@functools.cache
def folder():
    """A folder of this process."""
    return Path(tempfile.mkdtemp(prefix="nls-fuzz-"))


def told(read):
    """Return what is told of a file that is refused; nothing where it is read. All else that is raised passes."""
    try:
        read()
    except UserError as error:
        return str(error)
    return ""


CONFIG = yaml.safe_dump(GOOD).encode()


@given(EDITS)
def test_a_damaged_config_is_a_config_or_is_refused(edits):
    path = folder() / "config.yaml"
    path.write_bytes(damaged(CONFIG, edits))
    assert len(told(lambda: load_suite(read_yaml(path), str(path)))) < 1000


def places(value, path=()):
    """Yield the way to every value of a config."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9),
        st.sampled_from(["", "..", "a b", "{x}", "-", "8/255", "mine.py:Mine", "digits", -1, 0, 10**9, 2**70, 1e300]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


KEYS = (
    st.none()
    | st.sampled_from(["", "-", "é", "a b", "a/b", "none.npz", "mine.py:Mine"])
    | st.text(max_size=5)
)


@given(st.sampled_from(list(places(GOOD))), KEYS, VALUES)
def test_a_config_with_any_other_name_or_value_is_a_config_or_is_refused(way, name, value):
    config = copy.deepcopy(GOOD)
    place = config
    for key in way[:-1]:
        place = place[key]
    if name is not None and isinstance(place, dict):
        place[name] = place.pop(way[-1])
    else:
        place[way[-1]] = value
    assert len(told(lambda: load_suite(config, "config.yaml"))) < 1000


@functools.cache
def shapes():
    """Return files of one surface by name."""
    ball = trimesh.creation.icosphere(1)
    points = np.random.default_rng(0).normal(size=(120, 3))
    found = {
        f"ball.{ending}": ball.export(file_type=ending) for ending in ("ply", "obj", "off", "stl", "glb")
    }
    found["ascii.ply"] = ball.export(file_type="ply", encoding="ascii")
    found["points.xyz"] = "\n".join(" ".join(map(repr, map(float, row))) for row in points)
    for name, write in (
        ("points.npy", np.save),
        ("points.npz", lambda file, array: np.savez(file, points=array)),
    ):
        buffer = io.BytesIO()
        write(buffer, points)
        found[name] = buffer.getvalue()
    ball.export(folder() / "good.ply")
    return {name: each if isinstance(each, bytes) else each.encode() for name, each in found.items()}


@given(st.sampled_from(sorted(shapes())), EDITS)
def test_a_damaged_mesh_or_cloud_is_measured_or_refused(name, edits):
    content = damaged(shapes()[name], edits)
    path = folder() / name
    path.write_bytes(content)
    code, error, out = nls("compare", folder() / "good.ply", path, "--points", "50", "--json")
    if code == 0:
        figures = json.loads(out)
        assert all(np.isfinite(value) for value in figures.values())
    else:
        assert code == 2
        assert error.count("\n") == 1
        assert str(path) in error


def network():
    return torch.nn.Linear(4, 3)


@functools.cache
def weights():
    torch.manual_seed(0)
    state = network().state_dict()
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return state, {"w.pt": buffer.getvalue(), "w.safetensors": save(state)}


@given(st.sampled_from(["w.pt", "w.safetensors"]), EDITS)
def test_damaged_weights_are_refused_or_the_same(name, edits):
    state, files = weights()
    path = folder() / name
    path.write_bytes(damaged(files[name], edits))
    model = network()

    def read():
        load_weights(model, path)
        # A .safetensors file has no checksum of its values.
        if name == "w.pt":
            assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())

    assert len(told(read)) < 1000


SUITE = {
    "suite": "fuzz",
    "experiments": {
        "figure2": {
            "seeds_per_job": 1,
            "datasets": {"digits": {"fractions": [0.02], "seeds": 2, "losses": {"cross_entropy": {}}}},
            "training": {"steps": 1},
        }
    },
}


@functools.cache
def runs():
    """Carry out a suite of two runs in a folder; return it and the files of the second run."""
    place = folder() / "runs"
    place.mkdir()
    with chdir(place), redirect_stdout(io.StringIO()):
        suite = load_suite(SUITE, "fuzz.yaml")
        suite.write_specs()
        for spec in suite.specs["figure2"]:
            directory = Path("results/fuzz/figure2") / spec.run
            run_spec(Path("results/fuzz/specs/figure2") / f"{spec.run}.yaml", directory)
        results = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    return place, directory, results


RESULTS = ("metrics.json", "provenance.json", "history.csv", "spec.yaml")


@given(st.sampled_from([*RESULTS, "failure.json", "progress.json", ".finished.json"]), EDITS, st.booleans())
def test_a_damaged_run_is_missing_and_the_others_stand(name, edits, complete):
    place, directory, results = runs()
    beat = b'{"phase": "seed 0", "start": 0, "step": 1, "total": 2, "phase_seconds": 1.0, "seconds": 1.0}'
    whole = {
        "failure.json": b'{"reason": "RunError: the loss is nan at step 3"}',
        "progress.json": beat,
    } | results
    content = damaged(whole[name], edits)
    with chdir(place):
        shutil.rmtree(directory)
        directory.mkdir()
        for each, before in results.items():
            if complete or each not in ("metrics.json", "spec.yaml", "provenance.json"):
                (directory / each).write_bytes(before)
        (directory / name).write_bytes(content)
        code, error, out = nls("status", "--suite", "fuzz", "--json")
        assert (code, error) == (0, "")
        intact = complete and (content == whole[name] or name not in RESULTS)
        assert json.loads(out)["all"]["done"] == 1 + intact
        code, error, out = nls("table", "figure2", "--suite", "fuzz")
        assert (code, error) == (0, "")
        assert ("missing: " in out) == (not intact)
