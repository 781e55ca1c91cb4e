# One rule a kind of run, and one target an experiment: its runs, its tables and its figures.
for EXPERIMENT in SUITE.specs:

    rule:
        name:
            f"{EXPERIMENT}_run"
        input:
            spec=run_spec(EXPERIMENT),
            needs=run_needs(EXPERIMENT),
        output:
            run_files(EXPERIMENT),
        log:
            f"{run_directory(EXPERIMENT)}/{LOG}",
        benchmark:
            f"{run_directory(EXPERIMENT)}/{BENCHMARK}"
        conda:
            "../envs/nls.yaml"
        threads: SUITE.experiment(EXPERIMENT).threads
        resources:
            **run_resources(EXPERIMENT),
        params:
            spec=spec_path(EXPERIMENT),
            directory=run_directory(EXPERIMENT),
            summary=run_summary(EXPERIMENT),
        message:
            f"{EXPERIMENT} {{wildcards.run}}: {{params.summary}}"
        shell:
            RUN

    rule:
        name:
            EXPERIMENT
        input:
            metrics_of(EXPERIMENT),
            products_of(EXPERIMENT),
