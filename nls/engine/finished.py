"""The results of a finished run, kept where Snakemake does not delete them.

Before Snakemake tries a job again it deletes what the job declares as its output, also that of a run which had
finished: in a group of runs of which another one was cancelled, or while no Snakemake was alive to see it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nls.engine.files import write_json, write_text

KEPT = ".finished.json"


def write_finished(directory: Path, made_from: Mapping[str, Any], texts: Mapping[str, str]) -> None:
    """Keep the texts of a run's files, by name, with what they were made from; then write the files in this order."""
    write_json(directory / KEPT, {"made_from": made_from, "files": list(texts.items())})
    put_back_finished(directory, made_from)


def put_back_finished(directory: Path, made_from: Mapping[str, Any]) -> bool:
    """Write the kept files again; return False if there are none that were made from the same."""
    try:
        kept = json.loads((directory / KEPT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    if kept["made_from"] != made_from:
        return False
    for name, text in kept["files"]:
        write_text(directory / name, text)
    return True
