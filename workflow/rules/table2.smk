if "table2" in SUITE.specs:

    rule table2_run:
        input:
            spec=run_spec("table2"),
            needs=run_needs("table2"),
        output:
            run_files("table2"),
        log:
            f"{run_directory('table2')}/run.log",
        benchmark:
            f"{run_directory('table2')}/benchmark.tsv"
        conda:
            "../../environment.yml"
        threads: threads_of("table2")
        resources:
            **run_resources("table2"),
        params:
            spec=spec_path("table2"),
            directory=run_directory("table2"),
            settings=lambda wildcards: SUITE.spec("table2", wildcards.run).summary(),
        message:
            "reconstruct and measure {wildcards.run}: {params.settings}"
        shell:
            RUN

    rule table2:
        input:
            metrics_of("table2"),
            products_of("table2", "table2-scans"),
