# Tables, figures and the report: each is one nls command over run directories, in a job of seconds.
from nls.reporting.products import FIGURES, TABLES

SUITE_TABLES = [
    name for name, table in TABLES.items() if table.experiments[0] in SUITE.specs
]
SUITE_FIGURES = [
    name for name, figure in FIGURES.items() if figure.experiments[0] in SUITE.specs
]


localrules:
    table,
    figure,
    report,


def products_of(*names):
    """Files of the suite's tables and figures with these names, or of all."""
    return [
        f"{REPORTS}/{name}.{ending}"
        for products, ending in ((SUITE_TABLES, "csv"), (SUITE_FIGURES, "png"))
        for name in products
        if not names or name in names
    ]


rule table:
    input:
        lambda wildcards: metrics_of(*TABLES[wildcards.table].experiments),
    output:
        multiext(f"{REPORTS}/{{table}}", ".csv", ".md", ".tex"),
    params:
        suite=SUITE.config.suite,
    log:
        f"{REPORTS}/logs/table-{{table}}.log",
    benchmark:
        f"{REPORTS}/logs/table-{{table}}.tsv"
    resources:
        mem_mb=2000,
        runtime=10,
        gpu=0,
    wildcard_constraints:
        table="|".join(TABLES),
    shell:
        "nls table {wildcards.table} --suite {params.suite} > {log} 2>&1"


rule figure:
    input:
        lambda wildcards: metrics_of(*FIGURES[wildcards.figure].experiments),
    output:
        f"{REPORTS}/{{figure}}.png",
    params:
        suite=SUITE.config.suite,
    log:
        f"{REPORTS}/logs/figure-{{figure}}.log",
    benchmark:
        f"{REPORTS}/logs/figure-{{figure}}.tsv"
    resources:
        mem_mb=4000,
        runtime=30,
        gpu=0,
    wildcard_constraints:
        figure="|".join(FIGURES),
    shell:
        "nls figure {wildcards.figure} --suite {params.suite} > {log} 2>&1"


rule report:
    input:
        products_of(),
    output:
        f"{REPORTS}/report.html",
    params:
        suite=SUITE.config.suite,
    log:
        f"{REPORTS}/logs/report.log",
    benchmark:
        f"{REPORTS}/logs/report.tsv"
    resources:
        mem_mb=2000,
        runtime=10,
        gpu=0,
    shell:
        "nls report --suite {params.suite} > {log} 2>&1"


rule figure1:
    input:
        products_of("figure1"),


rule figure2:
    input:
        products_of("figure2"),
