"""A run: one spec carried out in one directory."""

import csv
import io
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save
from torch import Tensor

from nls.engine.checkpoint import Checkpoint, remove_checkpoints
from nls.engine.devices import choose_device
from nls.engine.files import json_text, remove_partial, write_json, written_whole
from nls.engine.finished import (
    BESIDE_A_RUN,
    FAILURE,
    HEARTBEAT,
    HISTORY,
    KEPT,
    METRICS,
    PROVENANCE,
    SPEC,
    DamagedRunError,
    MadeFrom,
    changed_input,
    checksums,
    checksums_of_inputs,
    put_back_finished,
    read_json,
    require_whole,
    sealed,
    write_finished,
)
from nls.engine.locks import alone
from nls.engine.progress import Progress
from nls.engine.provenance import describe, package_versions, source_fingerprint
from nls.engine.seeds import make_deterministic
from nls.engine.settings import RunSpec, deciding, first_difference
from nls.engine.yaml_files import read_yaml, yaml_text
from nls.errors import UserError

_LOCK = ".lock"

Spec = TypeVar("Spec", bound=RunSpec)
Recipe = Callable[[Spec, "Run"], Mapping[str, Any]]


class Run:
    """What a recipe is handed: the device, and one place for each kind of result.

    Attributes:
        directory: the run directory.
        device: where the computing happens.
        notes: what a reader of the results must know, for the provenance; see :meth:`note`.
        data: what the provenance says of the data, such as their fingerprints.
        history: rows of ``history.csv``, in the order of the run.
        timings: seconds that the provenance keeps, by name; no metric may depend on them.
        progress: see :class:`Progress`.
        checkpoint: see :class:`Checkpoint`; recipes go through :meth:`resume` and :meth:`save_if_due`.
        interruptions: how often the run went on from a checkpoint.
    """

    def __init__(self, directory: Path, spec: RunSpec, made_from: MadeFrom, device: torch.device) -> None:
        self.directory = directory
        self.device = device
        self.notes: list[str] = []
        self.data: dict[str, Any] = {}
        self.history: list[dict[str, float | int | str]] = []
        self.timings: dict[str, list[float]] = {}
        self.progress = Progress(directory / HEARTBEAT)
        self.checkpoint = Checkpoint(
            directory, made_from.identity, spec.checkpoint_minutes * 60, self.note, device
        )
        self.interruptions = 0
        self._source = made_from.source
        self._pieces: dict[str, Tensor] = {}
        self._began = time.monotonic()
        self._earlier = 0.0

    @property
    def wall_seconds(self) -> float:
        """Seconds spent on the run, earlier processes included up to their last checkpoint."""
        return self._earlier + time.monotonic() - self._began

    def note(self, message: str) -> None:
        """Print what a reader of the results must know, such as a fallback, and keep it in the provenance."""
        print(f"note: {message}", flush=True)
        self.notes.append(message)

    def resume(self) -> dict[str, Any] | None:
        """Return the state last saved, with history, timings and notes put back; None at a fresh start."""
        saved = self.checkpoint.load(self._kept({}).keys())
        if saved is None:
            return None
        self.history = saved["history"]
        self.timings = saved["timings"]
        self._pieces = saved["pieces"]
        self.notes = list(dict.fromkeys(saved["notes"] + self.notes))
        self.interruptions = saved["interruptions"] + 1
        self._earlier = saved["wall_seconds"]
        print(f"resuming after {self._earlier:.0f} s of work", flush=True)
        if saved["source"] != self._source:
            self.note("the source of nls was another one when the checkpoint was written")
        if saved["device"] != self.device.type:
            self.note(
                f"begun on {saved['device']}, continued on {self.device.type} with other random numbers"
            )
        return saved["state"]

    def save_if_due(self, state: Callable[[], dict[str, Any]]) -> None:
        """Write the checkpoint if it is time to; call it once a step. See :meth:`Checkpoint.save_if_due`."""
        self.checkpoint.save_if_due(lambda: self._kept(state()))

    def _kept(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return what a checkpoint holds: the state of the recipe, and what goes on with the run."""
        return {
            "state": state,
            "source": self._source,
            "device": self.device.type,
            "history": self.history,
            "timings": self.timings,
            "pieces": self._pieces,
            "notes": self.notes,
            "interruptions": self.interruptions,
            "wall_seconds": self.wall_seconds,
        }

    def cached(self, work: str, do: Callable[[], Tensor]) -> Tensor:
        """Do a piece of work that has no steps; return what it gives, on the CPU.

        Its result travels with the checkpoints: it is not done again after an interruption.
        """
        if work not in self._pieces:
            print(work, flush=True)
            self.progress.name(work)
            self._pieces[work] = do().cpu()
        return self._pieces[work]

    def save_weights(self, state: Mapping[str, Tensor]) -> None:
        """Write tensors whole, as ``weights.safetensors``."""
        tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
        with written_whole(self.directory / "weights.safetensors") as temporary:
            temporary.write_bytes(save(tensors))


def execute(spec: Spec, recipe: Recipe[Spec], directory: Path) -> None:
    """Carry out one run; ``metrics.json`` appears last and says that the run is complete.

    A directory that holds the same run already is left alone; results that Snakemake deleted after the run had
    finished are put back; and a directory in which another process is at work (left behind by a Snakemake that
    died, say) is waited for. So no work is done twice.

    Raises:
        UserError: the directory holds another run, or files that are no run's.
        RunError: the run failed; the reason is in ``failure.json`` too, for the tables.
    """
    _require_directory(directory)
    waiting = f"{directory}: another process is at work in it; waiting for it to end"
    with alone(directory / _LOCK, waiting, sys.stdout):
        remove_partial(directory)
        resolved, identity = spec.model_dump(mode="json"), spec.identity()
        made_from = MadeFrom(identity, source_fingerprint(), package_versions())
        if _is_complete(directory, resolved):
            print(f"{directory}: the run is complete already; delete the directory to run it again")
        elif put_back_finished(directory, made_from):
            print(
                f"{directory}: the run had finished; its results are put back. Delete the directory to run it again"
            )
        else:
            if any((directory / name).exists() for name in (METRICS, KEPT)):
                print(f"{directory}: running it again")
            _carry_out(spec, recipe, directory, made_from)
        _tidy(directory, identity)


def _require_directory(directory: Path) -> None:
    """Make the directory, or check that what is in it was put there by a run and those who started it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        names = sorted(path.name for path in directory.iterdir())
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise UserError(
            f"{directory}: nothing can be written there ({error.strerror}); choose another --out"
        ) from error
    if _LOCK in names or PROVENANCE in names:
        return
    strangers = [name for name in names if name not in BESIDE_A_RUN and not name.startswith(".")]
    if strangers:
        raise UserError(
            f"{directory}: holds {strangers[0]}, and no run; choose another --out, or an empty folder"
        )


def _is_complete(directory: Path, resolved: Mapping[str, Any]) -> bool:
    """Tell whether the directory holds this run, whole, made from the files that are there; if not, say why."""
    if not (directory / METRICS).exists():
        return False
    try:
        require_whole(directory)
    except DamagedRunError as problem:
        print(f"{directory}: {problem}")
        return False
    if first_difference(deciding(read_yaml(directory / SPEC)), deciding(resolved)):
        raise UserError(f"{directory}: holds another run; choose another --out or delete it")
    if path := changed_input(read_json(directory / PROVENANCE)):
        print(f"{directory}: was made from another {path}")
        return False
    return True


def _carry_out(spec: Spec, recipe: Recipe[Spec], directory: Path, made_from: MadeFrom) -> None:
    make_deterministic(spec.threads)
    with _reason_kept(directory):
        device = choose_device(spec.device)
        # Results of another run do not belong to the weights that will be here.
        for name in (FAILURE, KEPT, METRICS):
            (directory / name).unlink(missing_ok=True)
        run = Run(directory, spec, made_from, device)
        files_read = checksums_of_inputs(spec.files_read())
        started = datetime.now(UTC).isoformat(timespec="seconds")
        with run.checkpoint.listening(), run.progress.beating():
            metrics = recipe(spec, run)
            texts = {
                HISTORY: _history_text(run.history),
                SPEC: yaml_text(spec.model_dump(mode="json")),
                METRICS: json_text(metrics),
            }
            provenance = describe(device) | {
                "source": made_from.source,
                "packages": made_from.packages,
                "started": started,
                "wall_seconds": round(run.wall_seconds, 2),
                "timings": run.timings,
                "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                "interruptions": run.interruptions,
                "data": run.data,
                "files_read": files_read,
                "notes": run.notes,
                "files": checksums(directory, texts),
            }
            write_finished(directory, made_from, {PROVENANCE: sealed(provenance)} | texts)


def _tidy(directory: Path, identity: str) -> None:
    """Delete what only an unfinished run needs."""
    for name in (HEARTBEAT, FAILURE):
        (directory / name).unlink(missing_ok=True)
    remove_checkpoints(directory, identity)


@contextmanager
def _reason_kept(directory: Path) -> Iterator[None]:
    """Keep why a run failed, so that the tables can say it; an interruption is not a failure."""
    try:
        yield
    except (Exception, SystemExit) as error:  # a user's code may call sys.exit
        write_json(directory / FAILURE, {"reason": f"{type(error).__name__}: {error}"})
        (directory / HEARTBEAT).unlink(missing_ok=True)
        raise


def _history_text(rows: list[dict[str, float | int | str]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
