"""The verbs about the benchmarks, mostly called by Snakemake."""

import argparse
import os
import shutil
from pathlib import Path

from nls.arguments import Verbs, suite, suite_or_config
from nls.cli.options import print_result
from nls.errors import UserError

_RUN = "a suite that was run: a folder of results/"
_RUN_OR_KEPT = "a suite that was run, or whose reference is in git"


def add_verbs(verbs: Verbs) -> None:
    """Add these verbs."""
    for add in (_add_doctor, _add_run, _add_status, _add_table, _add_figure, _add_report, _add_keep):
        add(verbs)


def _add_doctor(verbs: Verbs) -> None:
    parser = verbs.add(
        "doctor",
        "tell what would stop a suite here, and what it will cost",
        "nls doctor --suite smoke",
        _doctor,
        result=True,
    )
    parser.add_argument(
        "--suite",
        type=suite_or_config,
        default="paper",
        help="a config of config/, or the path of a YAML file; default: %(default)s",
    )


def _doctor(arguments: argparse.Namespace) -> None:
    from nls.experiments.doctor import examine

    found = examine(arguments.suite, os.environ.get("NLS_MIRROR") or None)
    if arguments.json:
        print_result(arguments, found)
    for finding in found["findings"]:
        if finding["stops"]:
            raise UserError(f"{finding['subject']}: {finding['found']}")


def _add_run(verbs: Verbs) -> None:
    parser = verbs.add(
        "run",
        "run one spec file into a run directory",
        "nls run results/smoke/specs/figure1/linf.yaml --out results/smoke/figure1/linf",
        _run,
    )
    parser.add_argument("spec", type=Path, metavar="SPEC.yaml", help="all settings of the run")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the run directory")


def _run(arguments: argparse.Namespace) -> None:
    from nls.experiments import run_spec

    run_spec(arguments.spec, arguments.out)


def _add_status(verbs: Verbs) -> None:
    parser = verbs.add(
        "status", "tell how far a suite's runs are", "nls status --suite smoke", _status, result=True
    )
    parser.add_argument("--suite", type=suite, required=True, help=_RUN)


def _status(arguments: argparse.Namespace) -> None:
    from nls.reporting.status import suite_status

    found = suite_status(arguments.suite)
    if arguments.json:
        print_result(arguments, found.figures())
    else:
        print(found.text())


def _add_table(verbs: Verbs) -> None:
    parser = verbs.add(
        "table",
        "make a table from a suite's run directories",
        "nls table table1 --suite smoke",
        _table,
        result=True,
    )
    parser.add_argument("name", metavar="TABLE", help="figure2, table1, table2 …; a wrong name lists all")
    parser.add_argument("--suite", type=suite, required=True, help=_RUN_OR_KEPT)


def _table(arguments: argparse.Namespace) -> None:
    from nls.reporting.products import make_table

    table = make_table(arguments.name, arguments.suite)
    written = table.write()
    if arguments.json:
        print_result(arguments, table.figures())
    else:
        print(table.text(shutil.get_terminal_size((100, 24)).columns))
    for path in written:
        print(f"wrote {path}")


def _add_figure(verbs: Verbs) -> None:
    parser = verbs.add(
        "figure", "make a figure from a suite's run directories", "nls figure figure2 --suite smoke", _figure
    )
    parser.add_argument("name", metavar="FIGURE", help="figure1, figure2, figure3 …; a wrong name lists all")
    parser.add_argument("--suite", type=suite, required=True, help=_RUN_OR_KEPT)


def _figure(arguments: argparse.Namespace) -> None:
    from nls.reporting.products import write_figure

    for path in write_figure(arguments.name, arguments.suite):
        print(f"wrote {path}")


def _add_report(verbs: Verbs) -> None:
    parser = verbs.add(
        "report", "gather a suite's tables and figures on one page", "nls report --suite smoke", _report
    )
    parser.add_argument("--suite", type=suite, required=True, help=_RUN)


def _report(arguments: argparse.Namespace) -> None:
    from nls.reporting.report import write_report

    print(f"wrote {write_report(arguments.suite)}")


def _add_keep(verbs: Verbs) -> None:
    parser = verbs.add("keep", "file a suite's complete runs as the reference in git", "nls keep mini", _keep)
    parser.add_argument("suite", type=suite, metavar="SUITE", help=_RUN)


def _keep(arguments: argparse.Namespace) -> None:
    from nls.reporting.keep import keep

    for line in keep(arguments.suite):
        print(line)
