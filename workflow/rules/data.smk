# Datasets are fetched once; complete.json is written last and holds their fingerprints.
# Snakemake itself fetches them, also on a cluster, whose nodes often have no way to the internet.
rule data:
    output:
        f"{DATA}/{{dataset}}/complete.json",
    log:
        f"{DATA}/{{dataset}}.log",
    benchmark:
        f"{DATA}/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=r"[a-z0-9_]+",
    localrule: True
    conda:
        "../envs/nls.yaml"
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
    params:
        root=lambda wildcards, output: Path(output[0]).parents[1],
        mirror=MIRROR,
    shell:
        "nls data fetch {wildcards.dataset} --root {params.root:q} {params.mirror:q} > {log:q} 2>&1"
