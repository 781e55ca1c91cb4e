if "figure1" in SUITE.specs:

    rule figure1_run:
        input:
            spec=run_spec("figure1"),
            needs=run_needs("figure1"),
        output:
            run_files("figure1"),
        log:
            f"{run_directory('figure1')}/run.log",
        benchmark:
            f"{run_directory('figure1')}/benchmark.tsv"
        conda:
            "../../environment.yml"
        threads: threads_of("figure1")
        resources:
            **run_resources("figure1"),
        params:
            spec=spec_path("figure1"),
            directory=run_directory("figure1"),
        shell:
            RUN

    rule figure1:
        input:
            metrics_of("figure1"),
            products_of("figure1"),
