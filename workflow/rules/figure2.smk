if "figure2" in SUITE.specs:

    rule figure2_run:
        input:
            spec=run_spec("figure2"),
            needs=run_needs("figure2"),
        output:
            run_files("figure2"),
        log:
            f"{run_directory('figure2')}/run.log",
        benchmark:
            f"{run_directory('figure2')}/benchmark.tsv"
        conda:
            "../../environment.yml"
        threads: threads_of("figure2")
        resources:
            **run_resources("figure2"),
        params:
            spec=spec_path("figure2"),
            directory=run_directory("figure2"),
        shell:
            RUN

    rule figure2:
        input:
            metrics_of("figure2"),
            products_of("figure2"),
