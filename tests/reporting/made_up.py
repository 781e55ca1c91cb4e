"""Run directories that look like finished ones."""

import json

import yaml

from nls.engine.finished import checksums, sealed


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
