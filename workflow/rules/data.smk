# Datasets are fetched once; complete.json is written last and holds their fingerprints.
# Snakemake itself fetches them, also on a cluster, whose nodes often have no way to the internet.
localrules:
    data,


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
        mirror=MIRROR,
    shell:
        "nls data fetch {wildcards.dataset} --root {params.root:q} {params.mirror:q} > {log:q} 2>&1"
