if "table1" in SUITE.specs:

    rule table1_run:
        input:
            spec=run_spec("table1"),
            needs=run_needs("table1"),
        output:
            run_files("table1"),
        log:
            f"{run_directory('table1')}/run.log",
        benchmark:
            f"{run_directory('table1')}/benchmark.tsv"
        conda:
            "../../environment.yml"
        threads: threads_of("table1")
        resources:
            **run_resources("table1"),
        params:
            spec=spec_path("table1"),
            directory=run_directory("table1"),
            settings=lambda wildcards: SUITE.spec("table1", wildcards.run).summary(),
        message:
            "train and attack {wildcards.run}: {params.settings}"
        shell:
            RUN

    rule table1:
        input:
            metrics_of("table1"),
            products_of("table1", "table1-eps", "table1-steps", "table1-training"),
