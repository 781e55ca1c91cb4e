# Checks the config, writes the specs, and says what each run needs; the rules only name files.
import subprocess
import sys

from nls.errors import UserError
from nls.experiments import load_suite
from nls.reporting.products import FIGURES, TABLES

# Targets named after --configfile arrive as configuration (see the files of these names).
TARGETS = list(config.pop("targets", {}))
SOURCES = [str(path) for path in workflow.configfiles if str(path) not in TARGETS]

try:
    SUITE = load_suite(config, " + ".join(SOURCES) or "config")
except UserError as error:
    print(f"nls: {error}", file=sys.stderr)
    sys.exit(2)

RESULTS = f"results/{SUITE.config.suite}"
REPORTS = f"reports/{SUITE.config.suite}"
DATA = SUITE.config.data_root
MIRROR = ["--mirror", SUITE.config.mirror] if SUITE.config.mirror else []
RUN = "nls run {params.spec:q} --out {params.directory:q} > {log:q} 2>&1"

# On SIGTERM the shell waits until nls has written its checkpoint.
shell.prefix("trap : TERM; set -euo pipefail; ")


wildcard_constraints:
    run=r"[A-Za-z0-9][A-Za-z0-9._-]*",


def run_directory(experiment):
    return f"{RESULTS}/{experiment}/{{run}}"


def spec_path(experiment):
    return f"{RESULTS}/specs/{experiment}/{{run}}.yaml"


def run_spec(experiment):
    """The spec of a run, written when jobs are about to run; a dry run writes nothing.

    To a dry run a spec that would be written anew is no input: that the inputs differ shows that the run is due.
    """

    def spec(wildcards):
        if workflow.executor_plugin is None or workflow.dryrun:
            written = SUITE.has_written(experiment, wildcards.run)
            return spec_path(experiment) if written else []
        SUITE.write_spec(experiment, wildcards.run)
        return spec_path(experiment)

    return spec


def run_needs(experiment):
    """Datasets, files of the user and other runs that a run reads."""

    def needs(wildcards):
        if workflow.remote_exec:
            # On a cluster a group of runs is carried out by a Snakemake that is not told to keep going: a run that
            # fails would take those after it along. Here is the first place at which it can be told.
            workflow.execution_settings.keep_going = True
        return SUITE.spec(experiment, wildcards.run).needs()

    return needs


def run_files(experiment):
    """What a complete run leaves; checkpoint and log lie beside these and survive a failure."""
    names = ["metrics.json", "provenance.json", "history.csv", "spec.yaml"]
    return [f"{run_directory(experiment)}/{name}" for name in names]


def run_resources(experiment):
    """What a job asks for; memory and time grow with every attempt, time up to what partitions allow."""
    asked = SUITE.experiment(experiment).resources
    longest = max(asked.runtime, SUITE.config.max_runtime)
    return {
        "mem_mb": lambda wildcards, attempt: asked.mem_mb * attempt,
        "runtime": lambda wildcards, attempt: min(asked.runtime * attempt, longest),
        "gpu": asked.gpu,
    }


def metrics_of(*experiments):
    """The complete runs of these experiments.

    Targets name them beside their tables and figures, so that a deleted run directory is made again.
    """
    return [
        f"{RESULTS}/{experiment}/{spec.run}/metrics.json"
        for experiment in experiments
        for spec in SUITE.specs.get(experiment, [])
    ]


def threads_of(experiment):
    return SUITE.experiment(experiment).threads


SUITE_TABLES = [
    name for name, table in TABLES.items() if table.experiments[0] in SUITE.specs
]
SUITE_FIGURES = [
    name for name, figure in FIGURES.items() if figure.experiments[0] in SUITE.specs
]


def products_of(*names):
    """Files of the suite's tables and figures with these names, or of all."""
    return [
        f"{REPORTS}/{name}.{ending}"
        for products, ending in ((SUITE_TABLES, "csv"), (SUITE_FIGURES, "png"))
        for name in products
        if not names or name in names
    ]


def report_what_is_there():
    """After a failure: tables, figures and report of the complete runs; a missing cell is empty and says why."""
    print("Some jobs failed: reporting on the runs that are there.", file=sys.stderr)
    verbs = [
        *(["table", name] for name in SUITE_TABLES),
        *(["figure", name] for name in SUITE_FIGURES),
        ["report"],
    ]
    for verb in verbs:
        subprocess.run(["nls", *verb, "--suite", SUITE.config.suite])
