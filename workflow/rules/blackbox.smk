if "blackbox" in SUITE.specs:

    rule blackbox_run:
        input:
            spec=run_spec("blackbox"),
            needs=run_needs("blackbox"),
        output:
            run_files("blackbox"),
        log:
            f"{run_directory('blackbox')}/run.log",
        benchmark:
            f"{run_directory('blackbox')}/benchmark.tsv"
        conda:
            "../../environment.yml"
        threads: threads_of("blackbox")
        resources:
            **run_resources("blackbox"),
        params:
            spec=spec_path("blackbox"),
            directory=run_directory("blackbox"),
        shell:
            RUN

    rule blackbox:
        input:
            metrics_of("blackbox"),
            products_of("blackbox"),
