"""Speed and memory of nls against what a user would run instead.

    python -m benchmarks [--quick] [--json] [--page FILE] [--device cpu|cuda] [--threads N]
    python -m benchmarks --gpu OUT [--device cpu]

The first form times everything in this folder: a table, or one JSON object, on the standard output. It needs no
network and no fetched data. The second is the script for a first hour with a GPU; see ``gpu.py``. The exit code is 1
if a check that both sides computed the same does not hold, or if a part of ``--gpu`` failed.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

from benchmarks import attacks, few_images, loading, page, surfaces, universality
from nls.engine.devices import require_float32
from nls.engine.memory import keep_freed_memory

FILES = (attacks, surfaces, few_images, universality, loading)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="smaller sizes and fewer repetitions: two minutes"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the tables as a Markdown page")
    parser.add_argument("--gpu", type=Path, metavar="OUT", help="measure all that must be known of a GPU")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="cuda with --gpu, else cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args(arguments)
    if chosen.threads < 1:
        parser.error("--threads must be 1 or more")
    device = torch.device(chosen.device or ("cuda" if chosen.gpu else "cpu"))
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here; take --device cpu")
    torch.set_num_threads(chosen.threads)
    require_float32()
    keep_freed_memory()
    if chosen.gpu is not None:
        from benchmarks import gpu

        return gpu.measure(chosen.gpu, device)
    return compare(device, chosen.quick, chosen.json, chosen.page)


def compare(device: torch.device, quick: bool, as_json: bool, page_file: Path | None) -> int:
    where, rows, growth = page.machine(device), [], []
    for file in FILES:
        for row in file.rows(quick, device):
            rows.append(row)
            print(" · ".join(page.cells(row)), file=sys.stderr, flush=True)
        for each in file.growth(quick, device):
            growth.append(each)
            print(" · ".join(page.growth_cells(each)), file=sys.stderr, flush=True)
    if as_json:
        found = {
            "machine": where,
            "rows": [row.to_dict() for row in rows],
            "growth": [each.to_dict() for each in growth],
        }
        print(json.dumps(found, indent=2))
    else:
        print(page.table(page.HEADER, [page.cells(row) for row in rows]))
        print()
        print(page.table(page.GROWTH_HEADER, [page.growth_cells(each) for each in growth]))
    if page_file is not None:
        page_file.write_text(page.page(where, rows, growth, quick), encoding="utf-8")
    return 0 if all(row.same for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
