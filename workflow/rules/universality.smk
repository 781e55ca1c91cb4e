if "universality" in SUITE.specs:

    rule universality_run:
        input:
            spec=run_spec("universality"),
            needs=run_needs("universality"),
        output:
            run_files("universality"),
        log:
            f"{run_directory('universality')}/run.log",
        benchmark:
            f"{run_directory('universality')}/benchmark.tsv"
        conda:
            "../../environment.yml"
        threads: threads_of("universality")
        resources:
            **run_resources("universality"),
        params:
            spec=spec_path("universality"),
            directory=run_directory("universality"),
        message:
            "build and check the network of {wildcards.run}"
        shell:
            RUN

    rule universality:
        input:
            metrics_of("universality"),
            products_of("universality"),
