# The benchmark from datasets to the report. `snakemake --cores all` runs config/paper.yaml;
# --configfile config/smoke.yaml runs the same code on small data in minutes.
from snakemake.utils import min_version

min_version("9.0")

if "suite" not in config and not workflow.configfiles:

    configfile: workflow.source_path("config/paper.yaml")


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/experiments.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        metrics_of(*SUITE.specs),
        products_of(),
        f"{REPORTS}/report.html",


onerror:
    report_what_is_there()
