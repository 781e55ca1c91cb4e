# Tables, figures and the report: each is one nls command over run directories, in a job of seconds.
localrules:
    table,
    figure,
    report,


rule table:
    input:
        lambda wildcards: metrics_of(*TABLES[wildcards.table].experiments),
    output:
        multiext(f"{REPORTS}/{{table}}", ".csv", ".md", ".tex"),
    log:
        f"{REPORTS}/logs/table-{{table}}.log",
    benchmark:
        f"{REPORTS}/logs/table-{{table}}.tsv"
    wildcard_constraints:
        table="|".join(TABLES),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
        runtime=10,
        gpu=0,
    params:
        suite=SUITE.config.suite,
    shell:
        "nls table {wildcards.table} --suite {params.suite:q} > {log:q} 2>&1"


rule figure:
    input:
        lambda wildcards: metrics_of(*FIGURES[wildcards.figure].experiments),
    output:
        f"{REPORTS}/{{figure}}.png",
    log:
        f"{REPORTS}/logs/figure-{{figure}}.log",
    benchmark:
        f"{REPORTS}/logs/figure-{{figure}}.tsv"
    wildcard_constraints:
        figure="|".join(FIGURES),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=4000,
        runtime=30,
        gpu=0,
    params:
        suite=SUITE.config.suite,
    shell:
        "nls figure {wildcards.figure} --suite {params.suite:q} > {log:q} 2>&1"


rule report:
    input:
        products_of(),
        metrics_of(*SUITE.specs),
    output:
        f"{REPORTS}/report.html",
    log:
        f"{REPORTS}/logs/report.log",
    benchmark:
        f"{REPORTS}/logs/report.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
        runtime=10,
        gpu=0,
    params:
        suite=SUITE.config.suite,
    shell:
        "nls report --suite {params.suite:q} > {log:q} 2>&1"
