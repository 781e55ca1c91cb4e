# Datasets are fetched once; complete.json is written last and holds their fingerprints.
rule data:
    output:
        f"{DATA}/{{dataset}}/complete.json",
    log:
        f"{DATA}/{{dataset}}.log",
    benchmark:
        f"{DATA}/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=r"[a-z0-9_]+",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
    params:
        root=DATA,
        mirror=lambda wildcards: (
            f"--mirror {SUITE.config.mirror}" if SUITE.config.mirror else ""
        ),
    shell:
        "nls data fetch {wildcards.dataset} --root {params.root} {params.mirror} > {log} 2>&1"
