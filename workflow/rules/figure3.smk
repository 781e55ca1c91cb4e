if "figure3" in SUITE.specs:

    rule figure3_run:
        input:
            spec=run_spec("figure3"),
            needs=run_needs("figure3"),
        output:
            run_files("figure3"),
        log:
            f"{run_directory('figure3')}/run.log",
        benchmark:
            f"{run_directory('figure3')}/benchmark.tsv"
        conda:
            "../../environment.yml"
        threads: threads_of("figure3")
        resources:
            **run_resources("figure3"),
        params:
            spec=spec_path("figure3"),
            directory=run_directory("figure3"),
        message:
            "fit the curve {wildcards.run}"
        shell:
            RUN

    rule figure3:
        input:
            metrics_of("table2", "figure3"),
            products_of("figure3", "figure3-bodies", "figure3-curves"),
