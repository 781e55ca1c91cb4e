# Tables, figures and the report: each is one nls command over run directories, in a job of seconds.
# A product's inputs are its runs here and those kept in results/reference.
for NAME in SUITE_TABLES:

    rule:
        name:
            f"{NAME}_table"
        input:
            metrics_of(*TABLES[NAME].experiments),
            kept_runs(*TABLES[NAME].experiments),
        output:
            report(
                f"{REPORTS}/{NAME}.csv",
                caption=f"../../nls/reporting/captions/{NAME}.rst",
                category="Tables",
                labels={"table": NAME},
            ),
            multiext(f"{REPORTS}/{NAME}", ".md", ".tex"),
        log:
            f"{REPORTS}/logs/table-{NAME}.log",
        benchmark:
            f"{REPORTS}/logs/table-{NAME}.tsv"
        localrule: True
        conda:
            "../envs/nls.yaml"
        resources:
            mem_mb=2000,
            runtime=10,
            gpu=0,
        params:
            name=NAME,
            suite=SUITE.config.suite,
        shell:
            "nls table {params.name} --suite {params.suite:q} > {log:q} 2>&1"


for NAME in SUITE_FIGURES:

    rule:
        name:
            f"{NAME}_figure"
        input:
            metrics_of(*FIGURES[NAME].experiments),
            kept_runs(*FIGURES[NAME].experiments),
        output:
            report(
                f"{REPORTS}/{NAME}.png",
                caption=f"../../nls/reporting/captions/{NAME}.rst",
                category="Figures",
                labels={"figure": NAME},
            ),
            multiext(f"{REPORTS}/{NAME}", ".svg", ".pdf"),
            [f"{REPORTS}/{NAME}.html"] if FIGURES[NAME].page else [],
        log:
            f"{REPORTS}/logs/figure-{NAME}.log",
        benchmark:
            f"{REPORTS}/logs/figure-{NAME}.tsv"
        localrule: True
        conda:
            "../envs/nls.yaml"
        resources:
            mem_mb=4000,
            runtime=30,
            gpu=0,
        params:
            name=NAME,
            suite=SUITE.config.suite,
        shell:
            "nls figure {params.name} --suite {params.suite:q} > {log:q} 2>&1"


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
    localrule: True
    conda:
        "../envs/nls.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
        gpu=0,
    params:
        suite=SUITE.config.suite,
    shell:
        "nls report --suite {params.suite:q} > {log:q} 2>&1"


rule unknown_target:
    """A word that is no target ends in a line that names those that are."""
    input:
        no_such_target,
    output:
        "{target}",
    wildcard_constraints:
        target=r"[A-Za-z0-9_-]+",
