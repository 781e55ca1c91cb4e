"""``nls doctor``: what would stop a suite on this machine, and what it will cost."""

import importlib.util
import os
import platform
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
import yaml

from nls.data.official import addresses
from nls.data.store import read_receipt
from nls.engine.devices import choose_device, device_name
from nls.engine.provenance import code_commit, package_versions
from nls.engine.runs import METRICS
from nls.engine.settings import RunSpec
from nls.engine.yaml_files import read_yaml
from nls.errors import UserError
from nls.experiments.common import run_directory
from nls.experiments.cost import Cost, measure
from nls.experiments.suite import Suite, load_suite, missing_files

PROFILE = Path("workflow/profiles/slurm/config.yaml")
# Below this much free disk a run may end in the middle of what it writes.
MIN_DISK = 2 * 2**30
MEASURING_SECONDS = 50.0
_OFFICIAL = ("mnist", "fashion_mnist", "cifar10")


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, and whether it would stop a run."""

    subject: str
    found: str
    stops: bool = False

    def __str__(self) -> str:
        return f"{'STOP' if self.stops else 'ok':<5} {self.subject:<13} {self.found}"


def examine(suite_name: str, mirror: str | None) -> dict[str, Any]:
    """Print what was found, line by line, and the cost of the suite's runs that are not done; return both.

    The suite is the name of a config of ``config/``, or the path of a YAML file.

    Raises:
        UserError: the suite has no config.
    """
    suite = _suite(suite_name)
    specs = [spec for runs in suite.specs.values() for spec in runs]
    left = [spec for spec in specs if not (run_directory(spec) / METRICS).exists()]
    findings = []
    for finding in _findings(suite, left, mirror or suite.config.mirror):
        print(finding, flush=True)
        findings.append(finding)
    print(f"\n{len(specs)} runs, {len(specs) - len(left)} of them done", flush=True)
    costs = _print_costs(left) if left else []
    return {
        "findings": list(map(asdict, findings)),
        "runs": len(specs),
        "done": len(specs) - len(left),
        "costs": [asdict(cost) | {"seconds": cost.seconds} for cost in costs],
    }


def _suite(name_or_path: str) -> Suite:
    is_path = name_or_path.endswith((".yaml", ".yml"))
    path = Path(name_or_path) if is_path else Path("config") / f"{name_or_path}.yaml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in Path("config").glob("*.yaml")))
        remedy = f"take one of {known}" if known else "work in the clone"
        raise UserError(f"there is no {path}: {remedy}, or give the path of a config, such as my_suite.yaml")
    return load_suite(read_yaml(path), str(path))


def _findings(suite: Suite, left: Sequence[RunSpec], mirror: str | None) -> Iterator[Finding]:
    yield _python()
    yield Finding("nls", f"commit {code_commit() or 'unknown: not a git checkout'}")
    yield _libraries()
    yield from _device(suite)
    yield Finding(
        "determinism",
        "deterministic kernels, no TF32, CUBLAS_WORKSPACE_CONFIG "
        f"{os.environ.get('CUBLAS_WORKSPACE_CONFIG', ':4096:8 (set by each run)')}",
    )
    yield from _memory(suite)
    yield from _disk(Path("results"), Path(suite.config.data_root))
    yield from _files(left)
    for name in dict.fromkeys(name for spec in left for name in spec.datasets()):
        yield _dataset(name, Path(suite.config.data_root), mirror)
    yield from _slurm()


def _python() -> Finding:
    version = platform.python_version()
    good = (3, 11) <= tuple(int(part) for part in version.split(".")[:2]) < (3, 14)
    return Finding("Python", version if good else f"{version}; nls needs 3.11, 3.12 or 3.13", not good)


def _libraries() -> Finding:
    # On a server without a desktop the packages are there, and the system's libraries under them are not.
    from nls.geometry.meshlab import OPENGL, mesh_set

    try:
        import pyvista  # noqa: F401

        mesh_set()
    except ImportError as error:
        return Finding("libraries", f"{error}; install {OPENGL}", stops=True)
    except UserError as error:
        return Finding("libraries", str(error), stops=True)
    return Finding("libraries", "OpenGL's, for VTK and MeshLab")


def _device(suite: Suite) -> Iterator[Finding]:
    yield Finding("torch", package_versions()["torch"])
    try:
        device = choose_device(suite.config.device)
    except UserError as error:
        yield Finding("device", str(error), stops=True)
        return
    where = f"{device.type}, {device_name(device)}"
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        yield Finding("device", f"{where}, {_size(free)} of {_size(total)} free")
    else:
        yield Finding("device", f"{where}, {_cores()} cores for runs; no GPU")


def _memory(suite: Suite) -> Iterator[Finding]:
    available = psutil.virtual_memory().available
    asked = {name: suite.experiment(name).resources.mem_mb * 2**20 for name in suite.specs}
    largest = max(asked, key=lambda name: asked[name])
    found = f"{_size(available)} available; a run asks for up to {_size(asked[largest])} ({largest})"
    yield Finding("memory", found, stops=asked[largest] > psutil.virtual_memory().total)


def _disk(*folders: Path) -> Iterator[Finding]:
    for folder in folders:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(there).free
        found = f"{_size(free)} free for {folder}/"
        if free < MIN_DISK:
            yield Finding("disk", f"{found}; make it {_size(MIN_DISK)}", stops=True)
        elif not os.access(there, os.W_OK):
            yield Finding("disk", f"{there} cannot be written", stops=True)
        else:
            yield Finding("disk", found)


def _files(left: Sequence[RunSpec]) -> Iterator[Finding]:
    for path in missing_files(left):
        yield Finding("file", f"{path} is not there; the suite's config names it", stops=True)


def _dataset(name: str, root: Path, mirror: str | None) -> Finding:
    if read_receipt(root / name) is not None:
        return Finding("dataset", f"{name} is in {root}/")
    fetch = f"nls data fetch {name} --root {root}"
    if name == "faust":
        return Finding("dataset", f"faust is not in {root}/; {fetch} --archive MPI-FAUST.zip", stops=True)
    if name == "bodies" and importlib.util.find_spec("anny") is None:
        return Finding("dataset", "bodies need the package anny (requirements-no-deps.txt)", stops=True)
    if name not in _OFFICIAL:
        return Finding("dataset", f"{name} will be made here")
    choices = addresses(name, mirror)
    if source := next(filter(_is_there, choices), None):
        return Finding("dataset", f"{name} will be fetched from {source}")
    hint = "put it there" if mirror else "take it from a mirror (docs/data.md)"
    return Finding("dataset", f"{name} is not in {root}/, nor at {choices[0]}; {hint}", stops=True)


def _is_there(address: str) -> bool:
    if not address.startswith(("http://", "https://")):
        return Path(address).is_file()
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=5):
            return True
    except (OSError, urllib.error.URLError):
        return False


_WITHOUT_SLURM = ": try again later, or leave out the profile, and runs are carried out here"


def _slurm() -> Iterator[Finding]:
    if shutil.which("sinfo") is None:
        yield Finding("SLURM", "not on this machine; runs are carried out here")
        return
    try:
        answer = subprocess.run(
            ["sinfo", "--noheader", "--format", "%R"], capture_output=True, text=True, timeout=20
        )
    except subprocess.TimeoutExpired:
        yield Finding("SLURM", f"sinfo gives no answer for 20 s{_WITHOUT_SLURM}", stops=True)
        return
    if answer.returncode != 0:
        reason = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
        yield Finding("SLURM", f"sinfo cannot reach the controller ({reason}){_WITHOUT_SLURM}", stops=True)
        return
    there, wanted = set(answer.stdout.split()), _partitions()
    yield Finding("SLURM", f"reachable; partitions {', '.join(sorted(there))}")
    if missing := sorted(wanted - there):
        yield Finding("SLURM", f"{PROFILE} names the partition {missing[0]}, which is not there", stops=True)


def _partitions() -> set[str]:
    """Return the partitions that the profile names."""
    if not PROFILE.exists():
        return set()
    profile = yaml.safe_load(PROFILE.read_text(encoding="utf-8"))
    places = [profile.get("default-resources", {}), *profile.get("set-resources", {}).values()]
    return {place["slurm_partition"].strip("'") for place in places if "slurm_partition" in place}


def _print_costs(left: Sequence[RunSpec]) -> list[Cost]:
    print(f"measuring a step of each kind of run, about {MEASURING_SECONDS:.0f} s …\n", flush=True)
    print(f"{'kind of run':<52}{'runs':>5}{'a step':>11}{'steps':>11}{'in all':>12}")
    costs = []
    for cost in measure(left, MEASURING_SECONDS):
        costs.append(cost)
        print(_cost_line(cost), flush=True)
    try:
        device = choose_device(left[0].device)
    except UserError:  # a finding says why
        print("\nno device here to train on")
        return costs
    cores = _cores()
    total = sum(cost.seconds for cost in costs)
    mark = "at least " if any(cost.at_least for cost in costs) else ""
    if device.type == "cuda":
        where = "one after another on the GPU"
    else:
        at_once = max(1, cores // max(spec.threads for spec in left))
        where = f"on {cores} cores that do nothing else, {at_once} runs at once"
        total /= at_once
    print(f"\ntraining takes {mark}{_time(total)} {where}, if steps stay as long as these were.")
    print("Not in it: attacks, meshing, reading data, tables; kinds marked - were not measured.")
    if any(cost.extrapolated for cost in costs):
        print(
            "≈ from batches of a 32nd of the size, in proportion: rather too long, and no more than a guess."
        )
    if any(cost.made_up for cost in costs):
        print("* on made-up data of the same size, because the dataset is not here yet.")
    if (load := os.getloadavg()[0]) > cores:
        print(
            f"Other work leaves little time to measure in (load {load:.0f} on {cores} cores): ask again later."
        )
    return costs


def _cost_line(cost: Cost) -> str:
    name = f"{cost.kind:<52.52}{cost.runs:>5}"
    if cost.reason is not None:
        return f"{name}{'-':>11}   {cost.reason}"
    mark = "≥ " if cost.at_least else "≈ " if cost.extrapolated else ""
    star = " *" if cost.made_up else ""
    return f"{name}{mark + _time(cost.step):>11}{cost.steps:>11,}{mark + _time(cost.seconds):>12}{star}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"


def _time(seconds: float) -> str:
    for limit, unit, name in ((1, 1e-3, "ms"), (120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.{0 if seconds / unit >= 10 else 1}f} {name}"
    return f"{seconds / 86400:.0f} days"
