# The benchmark from datasets to the report. `snakemake --cores all` runs config/paper.yaml;
# --configfile config/smoke.yaml runs the same code on small data in minutes.
from snakemake.utils import min_version

min_version("9.0")

if "suite" not in config and not workflow.configfiles:

    configfile: f"{workflow.basedir}/config/paper.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/figure1.smk"
include: "workflow/rules/figure2.smk"
include: "workflow/rules/table1.smk"
include: "workflow/rules/blackbox.smk"
include: "workflow/rules/table2.smk"
include: "workflow/rules/figure3.smk"
include: "workflow/rules/universality.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        [getattr(rules, target).input for target in TARGETS if target != "report"],
        [f"{REPORTS}/report.html"] if not TARGETS or "report" in TARGETS else [],


onstart:
    SUITE.write_specs()


onerror:
    report_what_is_there()
