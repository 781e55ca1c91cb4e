"""Run directories that look like finished ones."""

import json
import shutil

import yaml

from nls.engine.finished import checksums, sealed
from nls.reporting.kept_runs import kept_file, kept_text
from nls.reporting.runs import read_run


def finish(directory, spec, metrics, wall_seconds=10.0, timings=None, **files):
    """Write a finished run: spec, metrics, provenance, and texts by stem and ending (``history_csv``)."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "spec.yaml").write_text(yaml.safe_dump(spec))
    (directory / "metrics.json").write_text(json.dumps(metrics))
    for name, text in files.items():
        (directory / ".".join(name.rsplit("_", 1))).write_text(text)
    (directory / "provenance.json").unlink(missing_ok=True)
    provenance = {
        "wall_seconds": wall_seconds,
        "timings": timings or {},
        "commit": "0" * 40,
        "device": {"name": "a CPU", "type": "cpu"},
        "python": "3.11",
        "packages": {"torch": "2.13"},
        "notes": [],
        "files": checksums(directory, {}),
    }
    (directory / "provenance.json").write_text(sealed(provenance))


def as_reference(results, suite, experiment):
    """Turn the run directories in ``results/reference/<suite>/<experiment>`` into the file that git keeps."""
    folder = results / "reference" / suite / experiment
    runs = {path.name: read_run(path) for path in folder.iterdir()}
    text = kept_text(
        {
            name: {"spec_hash": name, "spec": run.spec, "metrics": run.metrics, "provenance": run.provenance}
            for name, run in runs.items()
        }
    )
    kept_file(results, suite, experiment).write_text(text)
    shutil.rmtree(folder)
