# Checks the config, writes the specs, and says what each run needs; the rules only name files.
import functools
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from nls.engine.finished import BENCHMARK, HISTORY, LOG, METRICS, PROVENANCE, SPEC
from nls.engine.yaml_files import read_yaml
from nls.errors import UserError
from nls.experiments import RECIPES, load_suite, require_files
from nls.reporting.kept_runs import kept_file
from nls.reporting.products import FIGURES, TABLES, experiment_of
from snakemake.exceptions import WorkflowError

try:
    for path in workflow.configfiles:
        # Snakemake takes the last of two equal keys in silence.
        if Path(path).suffix != ".json":
            read_yaml(Path(path))
    CONFIG = " + ".join(map(str, workflow.configfiles)) or "config"
    SUITE = load_suite(config, CONFIG)
    require_files(SUITE, CONFIG)
except UserError as error:
    raise WorkflowError(f"nls: {error}")

RESULTS = f"results/{SUITE.config.suite}"
REPORTS = f"reports/{SUITE.config.suite}"
DATA = SUITE.config.data_root
MIRROR = ["--mirror", SUITE.config.mirror] if SUITE.config.mirror else []
RUN = "nls run {params.spec:q} --out {params.directory:q} > {log:q} 2>&1"

# Where workflow/envs/nls.post-deploy.sh finds the package.
os.environ.update(NLS_SOURCE=str(Path(workflow.current_basedir).parents[1]))

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
    All specs are written at the first look: Snakemake lists a folder once and does not see what is added later.
    """

    def spec(wildcards):
        spec_of(experiment, wildcards)
        if workflow.executor_plugin is None or workflow.dryrun:
            written = SUITE.has_written(experiment, wildcards.run)
            return spec_path(experiment) if written else []
        if workflow.is_main_process:
            write_specs_once()
        else:
            SUITE.write_spec(experiment, wildcards.run)
        return spec_path(experiment)

    return spec


@functools.cache
def write_specs_once():
    SUITE.write_specs()


def run_needs(experiment):
    """Datasets, files of the user and other runs that a run reads."""

    def needs(wildcards):
        if workflow.remote_exec:
            let_runs_of_a_group_fail_alone()
        return spec_of(experiment, wildcards).needs()

    return needs


def spec_of(experiment, wildcards):
    """The spec of a run; a run that the suite lacks ends in one line, where Snakemake tells an error in twenty."""
    try:
        return SUITE.spec(experiment, wildcards.run)
    except UserError as error:
        raise SystemExit(f"nls: {error}")


def let_runs_of_a_group_fail_alone():
    """On a cluster a group of runs is carried out by a Snakemake that nothing tells to keep going.

    There is no option, variable or hook for it, and its settings come after this file: the first look at a run is
    the first place at which it can be told.
    """
    workflow.execution_settings.keep_going = True


def run_summary(experiment):
    """A run's settings in one line, for the list of jobs."""
    return lambda wildcards: SUITE.spec(experiment, wildcards.run).summary()


def run_files(experiment):
    """What a complete run leaves; checkpoint and log lie beside these and survive a failure."""
    names = [METRICS, PROVENANCE, HISTORY, SPEC]
    return [f"{run_directory(experiment)}/{name}" for name in names]


def run_resources(experiment):
    """What a job asks for, the more the more often it has failed."""
    asked = SUITE.experiment(experiment).resources
    longest = SUITE.config.max_runtime
    return {
        "mem_mb": lambda wildcards, attempt: asked.memory_of(attempt),
        "runtime": lambda wildcards, attempt: asked.runtime_of(attempt, longest),
        "gpu": asked.gpu,
    }


def metrics_of(*experiments):
    """The complete runs of these experiments.

    Targets name them beside their tables and figures, so that a deleted run directory is made again.
    """
    return [
        f"{RESULTS}/{experiment}/{spec.run}/{METRICS}"
        for experiment in experiments
        for spec in SUITE.specs.get(experiment, [])
    ]


SUITE_TABLES = [
    name for name, table in TABLES.items() if table.experiments[0] in SUITE.specs
]
SUITE_FIGURES = [
    name for name, figure in FIGURES.items() if figure.experiments[0] in SUITE.specs
]


def products_of(*experiments):
    """The files of the suite's products: of all, or of those named after an experiment (table1, table1-eps …)."""
    return [
        f"{REPORTS}/{name}.{ending}"
        for products, ending in ((SUITE_TABLES, "csv"), (SUITE_FIGURES, "png"))
        for name in products
        if not experiments or experiment_of(name) in experiments
    ]


def kept_runs(*experiments):
    """The reference in git that a table or figure shows beside this machine's runs."""
    files = [
        kept_file(Path("results"), SUITE.config.suite, experiment)
        for experiment in experiments
    ]
    return [str(file) for file in files if file.exists()]


def no_such_target(wildcards):
    known = ", ".join([*SUITE.specs, "report"])
    if wildcards.target in RECIPES:
        raise SystemExit(
            f"nls: the suite {SUITE.config.suite} has no {wildcards.target}; its targets: {known}"
        )
    raise SystemExit(f"nls: {wildcards.target} is no target; take one of {known}")


SIGNALS_HEARD = []


def remember_ctrl_c():
    """Note that a person stops the workflow, which Snakemake takes for a failure of a job."""
    raises = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if raises and threading.current_thread() is threading.main_thread():

        def stop(number, frame):
            SIGNALS_HEARD.append(number)
            signal.default_int_handler(number, frame)

        signal.signal(signal.SIGINT, stop)


remember_ctrl_c()


def was_stopped():
    """Tell whether a signal has ended the workflow: Ctrl-C, or SIGTERM, which Snakemake itself listens to."""
    return bool(SIGNALS_HEARD or getattr(workflow.scheduler, "_user_kill", None))


def asks_for_single_runs():
    """Tell whether every target is a file of results: then nobody waits for tables."""
    targets = workflow.dag_settings.targets
    return bool(targets) and all(
        str(target).startswith(f"{RESULTS}/") for target in targets
    )


def report_what_is_there():
    """After a failure: tables, figures and report of the complete runs; a missing cell is empty and says why.

    Not so after a signal, nor where single runs were asked for.
    """
    if was_stopped():
        print(
            "Stopped: the same command goes on from the last checkpoints.",
            file=sys.stderr,
        )
        return
    if asks_for_single_runs():
        return
    print("Some jobs failed: reporting on the runs that are there.", file=sys.stderr)
    verbs = [
        *(["table", name] for name in SUITE_TABLES),
        *(["figure", name] for name in SUITE_FIGURES),
        ["report"],
    ]
    for verb in verbs:
        subprocess.run(["nls", *verb, "--suite", SUITE.config.suite])
